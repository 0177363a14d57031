package benchmark

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/spantest"
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
			spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
				config := tiny(t, "fake")
				config.Offered, config.InFlight, config.Duration = 20_000, 4000, span
				var out strings.Builder
				report, err := runWith(context.Background(), config, []Engine{engineOf("fake", test.fates)}, &out, steady)
				switch {
				case test.want != "" && err == nil:
					return "no fault is found\n" + out.String()
				case test.want != "" && (!errors.Is(err, ErrCheck) || !strings.Contains(out.String(), test.want)):
					t.Fatalf("got %v and no %q in\n%s", err, test.want, out.String())
				case test.want == "" && err != nil:
					t.Fatalf("%v\n%s", err, out.String())
				case test.want == "":
					m := report.Median
					if m.WritesPerSecond == 0 || m.OfferedPerSecond == 0 || test.name == "busy" && m.RefusedPerSecond == 0 {
						return fmt.Sprintf("offered %g, written %g, refused %g", m.OfferedPerSecond, m.WritesPerSecond, m.RefusedPerSecond)
					}
					if m.RefusedPerSecond > 0 && test.name != "busy" {
						t.Errorf("%g refused a second", m.RefusedPerSecond)
					}
				}
				return ""
			})
		})
	}
}

// TestOpenLoopOutOfClients has an engine that answers nothing: what was due and had no client is counted.
func TestOpenLoopOutOfClients(t *testing.T) {
	spantest.Run(t, 60*time.Millisecond, func(span time.Duration) (lacking string) {
		config := tiny(t, "fake")
		config.Offered, config.InFlight, config.Duration = 1_000_000, 40, span
		var out strings.Builder
		report, err := runWith(context.Background(), config, []Engine{engineOf("fake", every(fateApplied))}, &out, steady)
		if err != nil {
			t.Fatalf("%v\n%s", err, out.String())
		}
		if report.Median.MissedPerSecond == 0 {
			return "a million a second with 40 clients, and no write was missed"
		}
		return ""
	})
}
