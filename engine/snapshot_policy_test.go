package engine

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAPolicyNamesEveryFault(t *testing.T) {
	faulty := SnapshotPolicy{Retain: 101, Bytes: math.MaxUint64}
	if err := faulty.Validate(); err == nil || !strings.Contains(err.Error(), "Snapshots.Retain is 101") || !strings.Contains(err.Error(), "Snapshots.Bytes is") {
		t.Error(err)
	}
	for _, faulty := range []time.Duration{1, minSyncInterval - 1, maxSyncInterval + 1} {
		p := SnapshotPolicy{SyncInterval: faulty}
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "Snapshots.SyncInterval is "+faulty.String()) {
			t.Errorf("%s: %v", faulty, err)
		}
	}
	for _, good := range []time.Duration{-1, minSyncInterval, maxSyncInterval} {
		p := SnapshotPolicy{SyncInterval: good}
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
		if p.setDefaults(); p.SyncInterval != max(good, 0) {
			t.Errorf("%s became %s", good, p.SyncInterval)
		}
	}
	var zero SnapshotPolicy
	if err := zero.Validate(); err != nil {
		t.Error(err)
	}
	zero.setDefaults()
	if zero != (SnapshotPolicy{Bytes: DefaultSnapshotBytes, SyncInterval: DefaultSyncInterval, KeepEntries: DefaultKeepEntries, Retain: DefaultRetainSnapshots}) {
		t.Errorf("%+v", zero)
	}
}

// Whatever is applied, in whatever turns, a snapshot is due between half of what the policy says and all of it, and, by bytes, not before as much
// was applied as the last one was long.
func TestAMeterIsDueInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := SnapshotPolicy{
			Entries: rapid.Uint64Range(0, 1000).Draw(t, "entries"),
			Bytes:   rapid.Uint64Range(1, 100_000).Draw(t, "bytes"),
		}
		policy.setDefaults()
		m := snapshotMeter{policy: policy, random: rapid.Uint64().Draw(t, "seed")}
		for range 5 {
			length := rapid.Uint64Range(0, 200_000).Draw(t, "length")
			m.begin(length)
			entries, bytes := uint64(0), uint64(0)
			for due := false; !due; {
				n, size := rapid.Uint64Range(1, 50).Draw(t, "turn"), rapid.Uint64Range(1, 5000).Draw(t, "size")
				due = m.note(n, size)
				if !due {
					entries, bytes = entries+n, bytes+size
					continue
				}
				limit := max(policy.Bytes, length)
				byEntries := policy.Entries > 0 && entries+n >= policy.Entries-policy.Entries/2
				if !byEntries && bytes+size < limit-limit/2 {
					t.Fatalf("due after %d entries of %d and %d bytes of %d", entries+n, policy.Entries, bytes+size, limit)
				}
			}
			if policy.Entries > 0 && entries >= policy.Entries || bytes >= max(policy.Bytes, length) {
				t.Fatalf("not due after %d entries of %d and %d bytes of %d, %d", entries, policy.Entries, bytes, policy.Bytes, length)
			}
		}
	})
}

func TestADisabledMeterIsNeverDue(t *testing.T) {
	m := snapshotMeter{policy: SnapshotPolicy{Disabled: true, Entries: 1, Bytes: 1}}
	m.begin(0)
	if m.note(math.MaxInt64, math.MaxInt64) {
		t.Error("due")
	}
}
