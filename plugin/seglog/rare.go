package seglog

import (
	"slices"
)

// rareState is what few replicas have. It takes no room in the others, of which there may be a hundred thousand.
type rareState struct {
	installing place         // of the snapshot that the state machine has to recover from
	damageAt   uint32        // the segment of the record that holds what was found damaged, 0 for none
	older      []configPlace // configurations before the newest, by index
}

// configPlace is where a configuration is.
type configPlace struct {
	index uint64
	place
}

// changeRare replaces what is rare of a replica. What was there is not changed: copies of the replica are read without the lock.
func (r *replica) changeRare(change func(*rareState)) {
	var next rareState
	if r.rare != nil {
		next = *r.rare
	}
	change(&next)
	if r.rare = nil; next.installing.segment != 0 || next.damageAt != 0 || len(next.older) > 0 {
		r.rare = &next
	}
}

// installing returns where the snapshot stands that the state machine has to recover from, 0 if there is none.
func (r *replica) installing() place {
	if r.rare == nil {
		return place{}
	}
	return r.rare.installing
}

// damageAt returns the segment of the record that holds what was found damaged, 0 if there is none.
func (r *replica) damageAt() uint32 {
	if r.rare == nil {
		return 0
	}
	return r.rare.damageAt
}

// olderConfigs returns where the configurations before the newest are. It must not be changed.
func (r *replica) olderConfigs() []configPlace {
	if r.rare == nil {
		return nil
	}
	return r.rare.older
}

// configs returns where all configurations are, by index, in memory of its own.
func (r *replica) configs() []configPlace {
	if r.config.segment == 0 {
		return nil
	}
	return append(slices.Clone(r.olderConfigs()), r.config)
}

// configAt returns where the configuration of an index is, 0 if there is none.
func (r *replica) configAt(index uint64) configPlace {
	for _, c := range r.configs() {
		if c.index == index {
			return c
		}
	}
	return configPlace{}
}

// configIn reports whether a configuration is in a segment.
func (r *replica) configIn(segment uint32) bool {
	return r.config.segment == segment || slices.ContainsFunc(r.olderConfigs(), func(c configPlace) bool { return c.segment == segment })
}

// setConfigs replaces the configurations of a replica by a list of its own, by index.
func (x *index) setConfigs(r *replica, list []configPlace) {
	if r.config.segment == 0 && len(list) == 0 {
		return
	}
	before := r.configs()
	for _, c := range list {
		if !slices.Contains(before, c) {
			x.live(c.segment, recordCost)
		}
	}
	for _, c := range before {
		if !slices.Contains(list, c) {
			x.live(c.segment, -recordCost)
		}
	}
	newest := configPlace{}
	if n := len(list); n > 0 {
		newest, list = list[n-1], slices.Clip(list[:n-1])
	}
	r.config = newest
	if len(list) > 0 || len(r.olderConfigs()) > 0 {
		r.changeRare(func(rare *rareState) { rare.older = list })
	}
}

// addConfig adds a configuration, or gives it its new place.
func (x *index) addConfig(r *replica, c configPlace) {
	list := r.configs()
	i, found := slices.BinarySearchFunc(list, c.index, func(c configPlace, index uint64) int {
		switch {
		case c.index < index:
			return -1
		case c.index > index:
			return 1
		}
		return 0
	})
	if found {
		list[i] = c
	} else {
		list = slices.Insert(list, i, c)
	}
	x.setConfigs(r, list)
}

// dropOldConfigs keeps, of the configurations at or below the compacted index, only the newest: it is the one in force there.
func (x *index) dropOldConfigs(r *replica) {
	if len(r.olderConfigs()) == 0 {
		return
	}
	list := r.configs()
	for len(list) > 1 && list[1].index <= r.compacted {
		list = list[1:]
	}
	x.setConfigs(r, list)
}
