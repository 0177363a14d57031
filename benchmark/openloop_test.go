package benchmark

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestOpenLoop offers at a rate and holds the end check against every fate of a request.
func TestOpenLoop(t *testing.T) {
	for _, test := range []struct {
		name  string
		fates func(int) fate
		want  string // part of the output; empty if the check must pass
	}{
		{"nothing happens", every(fateApplied), ""},
		{"busy", every(fateBusy), ""},
		{"refused", every(fateRefused), ""},
		{"unknown and applied", every(fateUnknownApplied), ""},
		{"unknown and lost", every(fateUnknownLost), ""},
		{"lost", once(fateLost), "was acknowledged and is not in"},
		{"doubled", once(fateDoubled), "came a second time"},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := tiny(t, "fake")
			config.Offered, config.InFlight = 20_000, 4000
			var out strings.Builder
			report, err := runWith(context.Background(), config, []Engine{engineOf("fake", test.fates)}, &out, steady)
			if test.want != "" {
				if !errors.Is(err, ErrCheck) || !strings.Contains(out.String(), test.want) {
					t.Fatalf("got %v and no %q in\n%s", err, test.want, out.String())
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			m := report.Median
			if m.WritesPerSecond == 0 || m.OfferedPerSecond == 0 {
				t.Errorf("offered %g, written %g", m.OfferedPerSecond, m.WritesPerSecond)
			}
			if refused := m.RefusedPerSecond > 0; refused != (test.name == "busy") {
				t.Errorf("%g refused a second", m.RefusedPerSecond)
			}
		})
	}
}

// TestOpenLoopOutOfClients has an engine that answers nothing: what was due and had no client is counted.
func TestOpenLoopOutOfClients(t *testing.T) {
	config := tiny(t, "fake")
	config.Offered, config.InFlight = 1_000_000, 40
	var out strings.Builder
	report, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if report.Median.MissedPerSecond == 0 {
		t.Error("a million a second with 40 clients, and no write was missed")
	}
}
