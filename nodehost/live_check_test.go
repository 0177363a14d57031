package nodehost_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// check gives the history of each register to porcupine. A write of unknown outcome that was applied, as the judge says, may
// have taken effect at any time after its call; one that was not is left out.
func (l *live) check(judge *registers) {
	l.c.t.Helper()
	end := int64(time.Since(l.base))
	var histories [liveRegisters][]porcupine.Operation
	for number := range l.seen {
		for i := range l.seen[number] {
			o := &l.seen[number][i]
			operation := porcupine.Operation{ClientId: number, Call: int64(o.called), Return: int64(o.returned)}
			if !o.read {
				_, made := judge.state(o.id)
				if o.unknown && made == 0 {
					continue
				}
				if !o.unknown && made != o.version {
					l.c.t.Fatalf("a write of client %d was told that it made version %d, and made %d", number, o.version, made)
				}
				o.version = made
			}
			if o.unknown { // one client's operations must not overlap
				operation.ClientId, operation.Return = liveClients+len(histories[o.register]), end
			}
			operation.Input, operation.Output = liveInput{read: o.read}, o.version
			histories[o.register] = append(histories[o.register], operation)
		}
	}
	for register, history := range histories {
		noteReads(history)
		if result := porcupine.CheckOperationsTimeout(liveModel(), history, patience); result != porcupine.Ok {
			l.c.t.Errorf("the history of register %d, %d operations, is not linearizable: %v", register, len(history), result)
		}
	}
}

// liveInput is an operation as the model sees it. For a write, reads is how many reads of the version before there are: all of them
// come first, and saying so spares porcupine from trying every other way.
type liveInput struct {
	read  bool
	reads int
}

type liveState struct {
	version uint64
	reads   int // of this version
}

// liveModel is one register: a write makes the next version and returns it, a read returns the present one.
func liveModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return liveState{} },
		Step: func(state, input, output any) (bool, any) {
			now, in, version := state.(liveState), input.(liveInput), output.(uint64)
			if in.read {
				return version == now.version, liveState{now.version, now.reads + 1}
			}
			return version == now.version+1 && in.reads == now.reads, liveState{version, 0}
		},
	}
}

func noteReads(history []porcupine.Operation) {
	reads := make(map[uint64]int)
	for i := range history {
		if history[i].Input.(liveInput).read {
			reads[history[i].Output.(uint64)]++
		}
	}
	for i := range history {
		if !history[i].Input.(liveInput).read {
			history[i].Input = liveInput{reads: reads[history[i].Output.(uint64)-1]}
		}
	}
}

// The checker that live tests rely on refuses what is not linearizable.
func TestTheLiveCheckNotices(t *testing.T) {
	history := func(operations ...liveOperation) porcupine.CheckResult {
		var h []porcupine.Operation
		for i, o := range operations {
			h = append(h, porcupine.Operation{
				ClientId: i, Input: liveInput{read: o.read}, Output: o.version, Call: int64(o.called), Return: int64(o.returned),
			})
		}
		noteReads(h)
		return porcupine.CheckOperationsTimeout(liveModel(), h, patience)
	}
	write1 := liveOperation{version: 1, called: 1, returned: 2}
	write2 := liveOperation{version: 2, called: 3, returned: 4}
	for name, test := range map[string]struct {
		operations []liveOperation
		want       porcupine.CheckResult
	}{
		"right":        {[]liveOperation{write1, write2, {read: true, version: 2, called: 5, returned: 6}}, porcupine.Ok},
		"while":        {[]liveOperation{write1, write2, {read: true, version: 1, called: 3, returned: 6}}, porcupine.Ok},
		"stale read":   {[]liveOperation{write1, write2, {read: true, version: 1, called: 5, returned: 6}}, porcupine.Illegal},
		"early read":   {[]liveOperation{write1, write2, {read: true, version: 2, called: 1, returned: 2}}, porcupine.Illegal},
		"lost write":   {[]liveOperation{write1, {version: 1, called: 3, returned: 4}}, porcupine.Illegal},
		"turned round": {[]liveOperation{{version: 2, called: 1, returned: 2}, {version: 1, called: 3, returned: 4}}, porcupine.Illegal},
	} {
		if got := history(test.operations...); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
