package spantest

import (
	"slices"
	"testing"
	"time"
)

// fatal is a test that notes that it failed.
type fatal struct {
	testing.TB
	failed bool
}

func (f *fatal) Fatalf(string, ...any) {
	f.failed = true
	panic("end of the test")
}

func TestRunTakesLongerSpansUntilNothingIsLacking(t *testing.T) {
	for _, test := range []struct {
		enough time.Duration
		want   []time.Duration
		fails  bool
	}{
		{time.Second, []time.Duration{time.Second}, false},
		{5 * time.Second, []time.Duration{time.Second, 4 * time.Second, 16 * time.Second}, false},
		{time.Hour, []time.Duration{time.Second, 4 * time.Second, 16 * time.Second}, true},
	} {
		var spans []time.Duration
		f := &fatal{TB: t}
		func() {
			defer func() { _ = recover() }()
			Run(f, time.Second, func(span time.Duration) string {
				if spans = append(spans, span); span < test.enough {
					return "time"
				}
				return ""
			})
		}()
		if !slices.Equal(spans, test.want) || f.failed != test.fails {
			t.Errorf("%v is enough: spans %v, failed %t", test.enough, spans, f.failed)
		}
	}
}
