package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncsComingUp is up to which sync of hosts that come up their power is cut. Most starts make some more.
const syncsComingUp = 24

// killPair is the power cut that a kill is paired with (R30): the same store and about the same moment, but what was not synced is gone. A round of
// kills counts only if both halves of its pair end as they have to: with syncs nothing that was acknowledged is lost, and with syncs that do
// nothing it is, so that the first half would have noticed. All three hosts lose their power at one moment, whoever was killed.
type killPair struct {
	store    store
	seed     uint64
	commands int // that are acknowledged before the power is cut, or before the hosts that come up again are closed

	comingUp int // if not 0: the power is cut at this sync of the hosts that come up again, or once they are up

	inStream bool // one host was cut off until it has to be sent a snapshot, and can be reached again
	beyond   int  // then: that are acknowledged from then on
}

// run runs both halves.
func (p *killPair) run() error {
	if err := p.half(false); err != nil {
		return fmt.Errorf("with syncs: %w", err)
	}
	if err := p.half(true); !errors.Is(err, errLost) {
		return fmt.Errorf("without syncs nothing is lost, so that no loss would be noticed with them: %w", err)
	}
	return nil
}

// half brings hosts to the point, cuts their power, and looks for everything on what is left.
func (p *killPair) half(withoutSyncs bool) error {
	s := &cutScenario{
		store: p.store, random: rand.New(rand.NewPCG(p.seed, 4)), withoutSyncs: withoutSyncs, snapshots: p.inStream || p.seed%2 == 1,
		acknowledged: make(map[string]bool), refused: make(map[string]bool),
	}
	disks := make([]*vfs.MemFS, cutHosts)
	for i := range disks {
		disks[i] = vfs.NewCrashableMem()
	}
	point, err := p.cutUnderLoad(s, disks)
	if err == nil && p.comingUp > 0 {
		point, err = p.cutComingUp(s, disks)
	}
	if err != nil {
		return err
	}
	return s.check(point)
}

func (p *killPair) cutUnderLoad(s *cutScenario, disks []*vfs.MemFS) (point cutPoint, err error) {
	power := &powerSwitch{withoutSyncs: s.withoutSyncs}
	hosts, err := s.startHosts(disks, power)
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if err != nil {
		return point, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	progress, stop, err := s.load(ctx, 0, hosts)
	if err != nil {
		return point, err
	}
	await(ctx, progress, func() bool { return s.count() >= p.commands })
	if p.inStream {
		s.leaveBehind(ctx, hosts, s.random.IntN(cutHosts), progress)
		target := s.count() + p.beyond
		await(ctx, progress, func() bool { return s.count() >= target })
	}
	point = s.cut(disks, power)
	return point, stop()
}

// cutComingUp starts closed hosts again and cuts their power meanwhile.
func (p *killPair) cutComingUp(s *cutScenario, disks []*vfs.MemFS) (point cutPoint, err error) {
	power := &powerSwitch{withoutSyncs: s.withoutSyncs}
	var asked atomic.Int64
	cut := make(chan cutPoint, 1)
	power.asked = func() {
		if asked.Add(1) == int64(p.comingUp) {
			cut <- s.cut(disks, power)
		}
	}
	hosts, err := s.startHosts(disks, power)
	defer func() { err = errors.Join(err, closeCutHosts(hosts)) }()
	if asked.Add(int64(p.comingUp)) < 2*int64(p.comingUp) { // it came to fewer, and will not be counted up to it any more
		return s.cut(disks, power), err
	}
	return <-cut, err
}
