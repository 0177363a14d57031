package benchmark

import "testing"

func TestFiguresByName(t *testing.T) {
	r := Result{WritesPerSecond: 3, ReadsPerSecond: 4, WriteLatency: Latency{P50: 5}}
	for name, want := range map[string]float64{"writes_per_second": 3, "operations_per_second": 7, "write_latency_ms.p50": 5} {
		if got, ok := r.Figure(name); !ok || got != want {
			t.Errorf("%s is %g, %t", name, got, ok)
		}
	}
	if _, ok := r.Figure("speed"); ok {
		t.Error("there is a figure called speed")
	}
	for _, m := range metrics() {
		if _, ok := r.Figure(m.name); !ok {
			t.Errorf("no figure %s", m.name)
		}
	}
}
