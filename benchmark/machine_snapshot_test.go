package benchmark

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// TestMachineIsRecovered saves a machine with a gap; one that recovers it goes on as the first does.
func TestMachineIsRecovered(t *testing.T) {
	command := make([]byte, MinPayload)
	first, second := newMachine(1, 2, 3), newMachine(1, 2, 3)
	apply := func(m *Machine, index, sequence uint64) {
		writeCommand(command, shardKey(1, 2), 1, sequence)
		m.Begin()
		m.Apply(index, command)
		m.End()
	}
	for index, sequence := range []uint64{0, 1, 4} {
		apply(first, uint64(index+1), sequence)
	}
	var image bytes.Buffer
	if err := first.Save(&image); err != nil {
		t.Fatal(err)
	}
	saved := bytes.Clone(image.Bytes())
	if err := second.Recover(&image); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*Machine{first, second} {
		apply(m, 4, 2) // fills a part of the gap
		apply(m, 5, 4) // a second time
	}
	if !reflect.DeepEqual(first.State(), second.State()) || first.State().Wrong != 1 {
		t.Errorf("the first is %+v\nthe second %+v", first.State(), second.State())
	}
	for limit := range uint64(6) {
		one, _ := first.missing(1, limit)
		other, _ := second.missing(1, limit)
		if !reflect.DeepEqual(one, other) {
			t.Errorf("below %d are missing %v, and %v after recovery", limit, one, other)
		}
	}

	if err := newMachine(1, 2, 4).Recover(bytes.NewReader(saved)); err == nil {
		t.Error("a machine with other clients was recovered")
	}
	if err := second.Recover(bytes.NewReader(saved[:5])); err == nil {
		t.Error("a torn snapshot was recovered")
	}
	if err := first.Save(failingWriter{}); !errors.Is(err, errFake) {
		t.Errorf("a write that failed: %v", err)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFake }
