package simulation

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	for _, profile := range Profiles() {
		for seed := range uint64(3) {
			start := time.Now()
			r, err := Run(Options{Seed: seed, Profile: profile, Duration: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %d: %d hosts %d shards steps %d virtual %v in %v hash %x\n%v", profile, seed, r.Hosts, r.Shards, r.Steps, r.Virtual, time.Since(start), r.Hash, &r.Counters)
			if r.Violation != nil {
				for _, l := range r.Violation.Tail {
					t.Log(l)
				}
				t.Errorf("%v", r.Violation)
			}
		}
	}
}
