package comparison

import (
	"errors"
	"fmt"
	"slices"
)

// ErrOtherRun is returned, wrapped, if a report cannot go on from an earlier one: their figures would not belong together.
var ErrOtherRun = errors.New("comparison: the earlier report is of another kind of run")

// goOnFrom takes over the cases of an earlier report. One from another commit stays as well: each case names its own. What was measured on
// another machine, or in quick runs, does not go with what is measured now.
func (r *Report) goOnFrom(earlier *Report) error {
	if earlier == nil || len(earlier.Cases) == 0 {
		return nil
	}
	if earlier.Machine != r.Machine {
		return fmt.Errorf("%w: it was made on %s, and this is %s", ErrOtherRun, earlier.Machine, r.Machine)
	}
	if earlier.Quick != r.Quick {
		return fmt.Errorf("%w: one of the two is a quick run", ErrOtherRun)
	}
	r.Began, r.Ended, r.Cases = earlier.Began, earlier.Ended, slices.Clone(earlier.Cases)
	return nil
}

// put adds a case at its place in the table, or in place of what was known of it.
func (r *Report) put(c CaseReport) {
	if known := r.caseNamed(c.Name); known != nil {
		*known = c
		return
	}
	r.Cases = append(r.Cases, c)
	var order []string
	for _, row := range Rows() {
		for _, c := range row.Cases {
			order = append(order, c.Name)
		}
	}
	slices.SortStableFunc(r.Cases, func(a, b CaseReport) int { return slices.Index(order, a.Name) - slices.Index(order, b.Name) })
}

// measured reports whether the report holds a case whole, in the extent and with the subjects of this run. Repeats that failed count: that they
// do is what was found.
func (r *runner) measured(c Case) bool {
	known := r.report.caseNamed(c.Name)
	duration, repeat := r.extent(c)
	if known == nil || known.Interrupted || known.Seconds != duration.Seconds() || known.Planned < repeat || known.EqualHeap != c.EqualHeap {
		return false
	}
	subjects := r.subjectsOf(c)
	if len(known.Subjects) != len(subjects) {
		return false
	}
	for i := range subjects {
		if known.Subjects[i].Name != subjects[i].Name {
			return false
		}
	}
	return true
}

// Forget removes the cases of rows, all if there are no names, so that a run that goes on from the report measures them again. A report without
// cases goes on anywhere.
func (r *Report) Forget(rows []string) {
	r.Cases = slices.DeleteFunc(r.Cases, func(c CaseReport) bool { return len(rows) == 0 || slices.Contains(rows, c.Row) })
}
