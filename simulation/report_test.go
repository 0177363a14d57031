package simulation

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReportsAreAddedUp(t *testing.T) {
	result := Result{Seed: 3, Virtual: time.Minute}
	result.Counters.add(countCrash, 2)
	var file bytes.Buffer
	for _, profile := range []string{"everything", "calm", "everything"} {
		r := Report{Profile: profile, LogDB: modelLogDB, Real: time.Second}
		r.Add(&result)
		if err := r.Write(&file); err != nil {
			t.Fatal(err)
		}
	}
	result.Violation = &Violation{Property: "liveness"}
	failed := Report{Profile: "everything", LogDB: seglogLogDB}
	failed.Add(&result)
	if err := failed.Write(&file); err != nil {
		t.Fatal(err)
	}
	reports, err := ReadReports(&file)
	if err != nil || len(reports) != 3 || reports[0].Profile != "calm" {
		t.Fatalf("%v: %+v", err, reports)
	}
	if r := reports[1]; r.LogDB != modelLogDB || r.Seeds != 2 || r.Virtual != 2*time.Minute || r.Real != 2*time.Second || r.Counters["crash"] != 4 {
		t.Errorf("%+v", r)
	}
	if r := reports[2]; len(r.Violations) != 1 || !strings.Contains(r.Violations[0], "seed 3: liveness") {
		t.Errorf("%+v", r)
	}
	if _, err := ReadReports(strings.NewReader("crash=4")); err == nil {
		t.Error("what is no report was read")
	}
}
