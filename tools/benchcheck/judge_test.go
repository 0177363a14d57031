package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// around gives ten figures that lie near one.
func around(value float64) (values []float64) {
	for i := range 10 {
		values = append(values, value*(1+float64(i-5)/1000))
	}
	return values
}

func TestSlower(t *testing.T) {
	noisy := []float64{50, 150, 60, 140, 70, 130, 80, 120, 90, 110}
	noisier := []float64{60, 160, 70, 150, 80, 140, 90, 130, 100, 120}
	for name, test := range map[string]struct {
		unit       string
		base, head []float64
		slower     bool
	}{
		"the same":                  {"sec/op", around(100), around(100), false},
		"slower":                    {"sec/op", around(100), around(110), true},
		"slower, within bounds":     {"sec/op", around(100), around(103), false},
		"faster":                    {"sec/op", around(110), around(100), false},
		"may be chance":             {"sec/op", noisy, noisier, false},
		"one more allocation":       {"allocs/op", around(0), slices.Repeat([]float64{1}, 10), true},
		"as many allocations":       {"allocs/op", slices.Repeat([]float64{3}, 10), slices.Repeat([]float64{3}, 10), false},
		"more CPU":                  {"cpu-sec/op", around(1), around(1.2), true},
		"a rate, which nobody asks": {"MB/s", around(100), around(200), false},
		"new":                       {"sec/op", nil, around(100), false},
	} {
		k := key{"./raft", "Step-2", test.unit}
		m := measured{samples{k: test.base}, samples{k: test.head}}
		if got := m.slower(); (len(got) == 1) != test.slower {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestParse(t *testing.T) {
	const text = `goos: linux
pkg: example.org/raft
BenchmarkStep-2       	 1000	      2000 ns/op	 107 ns/event	     0 B/op	       1 allocs/op
BenchmarkStep-2       	 1000	      2100 ns/op
PASS
`
	s := samples{}
	if err := s.parse(strings.NewReader(text), "./raft"); err != nil {
		t.Fatal(err)
	}
	if got := s[key{"./raft", "Step-2", "sec/op"}]; len(got) != 2 || math.Abs(got[0]-2e-6) > 1e-12 {
		t.Errorf("got %v of %v", got, s)
	}
	if got := s[key{"./raft", "Step-2", "allocs/op"}]; len(got) != 1 || got[0] != 1 {
		t.Errorf("got %v of %v", got, s)
	}
}

func TestOnlyWhatIsSlowerTwiceFails(t *testing.T) {
	one, other := difference{key: key{"./a", "One-2", "sec/op"}, base: 1, head: 2}, difference{key: key{"./a", "Two/x-2", "sec/op"}}
	if got := both([]difference{one, other}, []difference{one}); len(got) != 1 || got[0] != one {
		t.Errorf("got %v", got)
	}
	if got := both([]difference{one}, nil); got != nil {
		t.Errorf("got %v", got)
	}
	if text := one.String(); !strings.Contains(text, "+100.0 %") {
		t.Errorf("got %s", text)
	}
	expression := expressionOf([]difference{one, other, one})
	for name, want := range map[string]bool{"BenchmarkOne": true, "BenchmarkTwo": true, "BenchmarkOneMore": false} {
		if got, err := regexp.MatchString(expression, name); err != nil || got != want {
			t.Errorf("%s selects %s: %t, %v", expression, name, got, err)
		}
	}
}

func TestRevisionsTakeTurns(t *testing.T) {
	if order(0) != [2]int{0, 1} || order(1) != [2]int{1, 0} {
		t.Errorf("got %v, %v", order(0), order(1))
	}
	if fileOf("head", "./transport/tcp") != "head-transport-tcp" {
		t.Errorf("got %s", fileOf("head", "./transport/tcp"))
	}
}
