package simulation

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// historyPatience is how long porcupine may think about one register, by the machine's clock. It needs a few milliseconds; a
// history that it cannot decide counts as a violation.
const historyPatience = 20 * time.Second

// registerInput and registerOutput are an operation as the model of one register sees it: a write makes the next version and
// returns it, a read returns the present one. For a write, reads is how many reads of the version before there are in the
// history. All of them have to come first; saying so spares porcupine from trying every other way.
type registerInput struct {
	read  bool
	reads int
}

type registerOutput struct{ version uint64 }

type registerState struct {
	version uint64
	reads   int // of this version
}

func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return registerState{} },
		Step: func(state, input, output any) (bool, any) {
			now, in, out := state.(registerState), input.(registerInput), output.(registerOutput)
			if in.read {
				return out.version == now.version, registerState{now.version, now.reads + 1}
			}
			return out.version == now.version+1 && in.reads == now.reads, registerState{now.version + 1, 0}
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
			noteReads(histories[i][key])
			switch porcupine.CheckOperationsTimeout(model, histories[i][key], historyPatience) {
			case porcupine.Illegal:
				w.violate("linearizability", "shard %d: the history of register %d is not linearizable", i+1, key)
			case porcupine.Unknown:
				w.violate("linearizability", "shard %d: the history of register %d could not be checked in time", i+1, key)
			}
		}
	}
}

func noteReads(history []porcupine.Operation) {
	reads := map[uint64]int{}
	for i := range history {
		if history[i].Input.(registerInput).read {
			reads[history[i].Output.(registerOutput).version]++
		}
	}
	for i := range history {
		if !history[i].Input.(registerInput).read {
			history[i].Input = registerInput{reads: reads[history[i].Output.(registerOutput).version-1]}
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
