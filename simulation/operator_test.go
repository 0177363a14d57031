package simulation

import (
	"testing"
	"time"
)

// Some seeds in which operators act hold every property, and together they meet everything that operators do and what becomes of it.
func TestOperators(t *testing.T) {
	var total Counters
	missing := func() (list []counter) {
		for kind := firstAct; kind < firstMachineFault; kind++ {
			if total[kind] == 0 && kind != countExportRefused { // where bits flip in snapshots alone
				list = append(list, kind)
			}
		}
		return list
	}
	for seed := uint64(0); seed < 4 || seed < 30 && len(missing()) > 0; seed++ {
		result := run(t, Options{Seed: seed, Profile: "operator", LogDB: modelLogDB, Duration: 20 * time.Second})
		total.Merge(&result.Counters)
	}
	t.Log(&total)
	if list := missing(); len(list) > 0 {
		t.Errorf("never occurred: %v", names(list))
	}
}
