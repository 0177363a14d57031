// Package rsmtest is the conformance suite for state machines: what the engine relies on, held against a machine that a user has written.
//
//	func TestConformance(t *testing.T) {
//		rsmtest.Run(t, rsmtest.Subject{
//			New:     func(place rsmtest.Place) (rsm.StateMachine, error) { return mymachine.New(place.FS, place.Dir) },
//			Command: func(random *rand.Rand) []byte { return mymachine.RandomCommand(random) },
//			Queries: []any{mymachine.Everything{}},
//		})
//	}
//
// It is best run with -race, too. There is a case for each clause of the contracts in package rsm, run if the machine has the abilities that it
// is about; all drive the machine through rsm.Manager, as the engine does. Each case says in its comment which clause it is and what goes
// wrong with a machine that breaks it.
//
// The suite cannot see what a machine shares with others outside its place, nor what depends on the program that runs it: two
// versions of a machine that take a command differently pass, each by itself.
package rsmtest
