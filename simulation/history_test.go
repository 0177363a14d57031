package simulation

import (
	"testing"

	"github.com/anishathalye/porcupine"
)

// The model tells histories of a register apart: a read may see what was written before it ended, and no less than what had been
// seen before it began.
func TestRegisterModel(t *testing.T) {
	write := func(call, end int64, version uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{}, Call: call, Return: end, Output: registerOutput{version}}
	}
	read := func(call, end int64, version uint64) porcupine.Operation {
		return porcupine.Operation{Input: registerInput{read: true}, Call: call, Return: end, Output: registerOutput{version}}
	}
	cases := []struct {
		name    string
		history []porcupine.Operation
		want    bool
	}{
		{"in order", []porcupine.Operation{write(1, 2, 1), read(3, 4, 1), write(5, 6, 2), read(7, 8, 2)}, true},
		{"concurrent", []porcupine.Operation{write(1, 9, 1), read(2, 3, 0), read(4, 5, 1)}, true},
		{"stale read", []porcupine.Operation{write(1, 2, 1), write(3, 4, 2), read(5, 6, 1)}, false},
		{"read from the future", []porcupine.Operation{write(1, 2, 1), read(3, 4, 2), write(5, 6, 2)}, false},
		{"reads go back", []porcupine.Operation{write(1, 9, 1), read(2, 3, 1), read(4, 5, 0)}, false},
		{"version twice", []porcupine.Operation{write(1, 2, 1), write(3, 4, 1)}, false},
		{"version left out", []porcupine.Operation{write(1, 2, 1), write(3, 4, 3)}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			noteReads(c.history)
			if got := porcupine.CheckOperations(registerModel(0), c.history); got != c.want {
				t.Errorf("linearizable: %v, want %v", got, c.want)
			}
		})
	}
}
