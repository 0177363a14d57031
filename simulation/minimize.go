package simulation

import "slices"

// Minimize looks for less that still shows the violation of a run: it ends the faults right after the violation, and then
// leaves out every kind of fault that the same property is violated without. The result are options to run; if nothing can
// be left out, or the run has no violation, they are as given.
func Minimize(options Options) (Options, Result, error) {
	result, err := Run(options)
	if err != nil || result.Violation == nil {
		return options, result, err
	}
	property := result.Violation.Property
	attempt := func(changed Options) error {
		again, err := Run(changed)
		if err == nil && again.Violation != nil && again.Violation.Property == property {
			options, result = changed, again
		}
		return err
	}
	cut := options
	cut.Steps = result.Steps
	if err := attempt(cut); err != nil {
		return options, result, err
	}
	for _, name := range Faults() {
		if count, _ := result.Counters.Value(name); count == 0 && slices.Contains(options.Without, name) {
			continue
		}
		changed := options
		changed.Without = append(slices.Clone(options.Without), name)
		if changed.Steps != 0 {
			changed.Steps *= 2 // it may take longer without
		}
		if err := attempt(changed); err != nil {
			return options, result, err
		}
		if options.Steps != 0 {
			options.Steps = min(options.Steps, result.Steps)
		}
	}
	return options, result, nil
}
