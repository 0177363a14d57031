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

func registerModel(base uint64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return registerState{version: base} },
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
	versions := w.decidedVersions()
	for _, s := range w.shards {
		for ; s != nil; s = s.former {
			w.checkHistory(s, versions)
		}
	}
}

// checkHistory looks at one life of a shard. A rebuilt one begins with the registers as they were in what it was rebuilt from.
func (w *World) checkHistory(s *shard, versions []uint64) {
	var histories [keyCount][]porcupine.Operation
	for _, o := range w.clients.operations {
		if o.shard != s && o.applied != s {
			continue
		}
		operation := porcupine.Operation{ClientId: int(o.id), Input: registerInput{read: o.read}, Call: o.called, Return: o.returned,
			Output: registerOutput{version: o.version}}
		switch {
		case o.status == statusAnswered && o.shard == s:
		case o.read || o.applied != s:
			continue
		default:
			operation.Return = w.now + 1
			operation.Output = registerOutput{version: versions[o.id-1]}
		}
		histories[o.key] = append(histories[o.key], operation)
	}
	for key := range histories {
		noteReads(histories[key])
		switch porcupine.CheckOperationsTimeout(registerModel(s.base[key]), histories[key], historyPatience) {
		case porcupine.Illegal:
			w.violate("linearizability", "shard %d: the history of register %d is not linearizable", s.id, key)
		case porcupine.Unknown:
			w.violate("linearizability", "shard %d: the history of register %d could not be checked in time", s.id, key)
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
		for ; s != nil; s = s.former {
			current := s.base
			for i := s.births; i < uint64(len(s.commands)); i++ {
				if id := s.commands[i].operation; id != 0 {
					o := w.clients.operations[id-1]
					current[o.key]++
					versions[id-1] = current[o.key]
				}
			}
		}
	}
	return versions
}
