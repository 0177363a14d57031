package engine

// guarded returns done so that a panic in it ends its own call only: callbacks run on the engine's goroutines, and a caller's mistake
// must not end the process or fence a replica that has done nothing wrong.
func guarded(done func(error)) func(error) {
	return func(err error) {
		defer func() { _ = recover() }()
		done(err)
	}
}

// guardedValue is guarded for callbacks that are handed something.
func guardedValue[T any](done func(T, error)) func(T, error) {
	return func(value T, err error) {
		defer func() { _ = recover() }()
		done(value, err)
	}
}
