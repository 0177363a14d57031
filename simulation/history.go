package simulation

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// historyPatience is how long porcupine may think about one register, by the machine's clock. It needs a few milliseconds; a
// history that it cannot decide counts as a violation.
const historyPatience = 20 * time.Second

// registerInput and registerOutput are an operation as the model of one register sees it: a write makes the next version and
// returns it, a read returns the present one.
type registerInput struct{ read bool }

type registerOutput struct{ version uint64 }

func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(0) },
		Step: func(state, input, output any) (bool, any) {
			version, out := state.(uint64), output.(registerOutput)
			if input.(registerInput).read {
				return out.version == version, version
			}
			return out.version == version+1, version + 1
		},
	}
}

// checkHistories gives what the clients saw of every register to porcupine. A write whose outcome is unknown to its client and
// that was applied may have taken effect at any time after its call; the version that it made is known from the state
// machines. One that never was applied is left out.
func (w *World) checkHistories() {
	histories := make([][keyCount][]porcupine.Operation, len(w.shards))
	versions := w.decidedVersions()
	for _, o := range w.clients.operations {
		operation := porcupine.Operation{ClientId: int(o.id), Input: registerInput{read: o.read}, Call: o.called, Return: o.returned,
			Output: registerOutput{version: o.version}}
		switch {
		case o.status == statusAnswered:
		case o.read || o.index == 0:
			continue
		default:
			operation.Return = w.now + 1
			operation.Output = registerOutput{version: versions[o.id-1]}
		}
		list := &histories[o.shard.id-1][o.key]
		*list = append(*list, operation)
	}
	model := registerModel()
	for i := range histories {
		for key := range histories[i] {
			switch porcupine.CheckOperationsTimeout(model, histories[i][key], historyPatience) {
			case porcupine.Illegal:
				w.violate("linearizability", "shard %d: the history of register %d is not linearizable", i+1, key)
			case porcupine.Unknown:
				w.violate("linearizability", "shard %d: the history of register %d could not be checked in time", i+1, key)
			}
		}
	}
}

// decidedVersions returns by operation which version of its register it made.
func (w *World) decidedVersions() []uint64 {
	versions := make([]uint64, len(w.clients.operations))
	for _, s := range w.shards {
		var current [keyCount]uint64
		for i := range s.commands {
			if id := s.commands[i].operation; id != 0 {
				o := w.clients.operations[id-1]
				current[o.key]++
				versions[id-1] = current[o.key]
			}
		}
	}
	return versions
}
