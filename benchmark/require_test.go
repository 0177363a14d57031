package benchmark

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRequirement(t *testing.T) {
	for text, want := range map[string]Requirement{
		"writes_per_second>=0.25*limit":   {"writes_per_second", ">=", 0.25, "limit"},
		"write_latency_ms.p50 <= 4*limit": {"write_latency_ms.p50", "<=", 4, "limit"},
		"allocs_per_op<=0.2":              {"allocs_per_op", "<=", 0.2, ""},
		"errors==0":                       {"errors", "==", 0, ""},
		"errors!=0":                       {"errors", "!=", 0, ""},
		" reads_per_second > -1e3 ":       {"reads_per_second", ">", -1000, ""},
		"busy<a-b:blocking":               {"busy", "<", 1, "a-b:blocking"},
		"busy < 2 * a_1":                  {"busy", "<", 2, "a_1"},
	} {
		got, err := ParseRequirement(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "errors", "errors=0", "errors=>0", "errors>=", "nonsense>=1", "errors>=1*", "errors>=*limit", "errors>=limit*1",
		"errors>=1*2", "errors<=NaN", "errors<=Inf", "errors<=Limit", "errors<=1 limit", "errors!0", "errors<<1",
	} {
		if got, err := ParseRequirement(text); !errors.Is(err, errExpression) {
			t.Errorf("%q: got %+v, %v; want an error", text, got, err)
		}
	}
}

func FuzzParseRequirement(f *testing.F) {
	for _, seed := range []string{
		"writes_per_second>=0.25*limit", "errors==0", "busy<limit", "write_latency_ms.p50 <= 4 * a:blocking", "errors>=*", "=", "<",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := ParseRequirement(text)
		if err != nil {
			return
		}
		again, err := ParseRequirement(parsed.String())
		if err != nil || again != parsed {
			t.Fatalf("%q became %q, which became %+v, %v", text, parsed, again, err)
		}
		parsed.judge([]Result{{Engine: "a"}})
	})
}

func TestJudge(t *testing.T) {
	medians := []Result{
		{Engine: "flotilla", WritesPerSecond: 100, Errors: 0},
		{Engine: "limit", WritesPerSecond: 400, Errors: 1},
	}
	for text, want := range map[string]bool{
		"writes_per_second>=0.25*limit": true,
		"writes_per_second>0.25*limit":  false,
		"writes_per_second<=0.25*limit": true,
		"writes_per_second<0.25*limit":  false,
		"writes_per_second==0.25*limit": true,
		"writes_per_second!=0.25*limit": false,
		"writes_per_second>=0.26*limit": false,
		"writes_per_second<limit":       true,
		"errors==0":                     true,
		"errors==limit":                 false,
		"writes_per_second>=101":        false,
	} {
		requirement, err := ParseRequirement(text)
		if err != nil {
			t.Fatal(err)
		}
		if verdict := requirement.judge(medians); verdict.Met != want {
			t.Errorf("%s: %+v, want %v", text, verdict, want)
		}
	}
}

// Each workload has figures of its own, and only outages have a floor.
func TestRequirementsBelongToAWorkload(t *testing.T) {
	for _, test := range []struct {
		workload, text string
		ok             bool
	}{
		{WorkloadFailover, "kill.median_ms<=1.1*floor", true},
		{WorkloadFailover, "close.max_ms<=100", true},
		{WorkloadFailover, "kill.unrecovered==0", true},
		{WorkloadFailover, "kill.others_gap_ms<=2*floor", false},
		{WorkloadFailover, "kill.median_ms<=2*limit", false},
		{WorkloadFailover, "errors==0", false},
		{WorkloadSteady, "kill.median_ms<=300", false},
		{WorkloadSteady, "errors==0", true},
		{WorkloadSlowFollower, "stopped.rate_ratio>=0.9", true},
		{WorkloadSlowFollower, "stopped.rate_ratio>=2*limit", false},
		{WorkloadSlowFollower, "kill.median_ms<=300", false},
		{WorkloadSteady, "stopped.rate_ratio>=0.9", false},
	} {
		config := DefaultConfig("one")
		config.Workload = test.workload
		requirement, err := ParseRequirement(test.text)
		if err != nil {
			t.Fatal(err)
		}
		config.Require = []Requirement{requirement}
		if err := config.Validate(testEngines()); (err == nil) != test.ok {
			t.Errorf("%s with %s: %v", test.text, test.workload, err)
		}
	}
}

// What the failover workload cannot do is refused, all of it at once.
func TestFailoverRefusesWhatItCannotDo(t *testing.T) {
	config := DefaultConfig("limit")
	config.Workload, config.Hosts, config.Blocking = WorkloadFailover, 2, true
	err := config.Validate(testEngines())
	for _, want := range []string{"--hosts 2", "--engine limit", "--blocking"} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}
