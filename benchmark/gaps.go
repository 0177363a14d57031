package benchmark

import "slices"

// gaps is a set of sequence numbers that were passed over, as ascending intervals that neither touch nor overlap. It is empty
// as long as no outcome was unknown, so it favours few words over speed.
type gaps []interval

// interval holds the numbers from first up to, and without, end.
type interval struct{ first, end uint64 }

// add puts [first, end) into the set. Intervals are added in ascending order: first is at or above every number in the set.
func (g *gaps) add(first, end uint64) {
	if n := len(*g); n > 0 && (*g)[n-1].end == first {
		(*g)[n-1].end = end
		return
	}
	*g = append(*g, interval{first, end})
}

// remove takes one number out of the set and says whether it was there.
func (g *gaps) remove(number uint64) bool {
	i, found := slices.BinarySearchFunc(*g, number, func(v interval, n uint64) int {
		switch {
		case v.end <= n:
			return -1
		case v.first > n:
			return 1
		default:
			return 0
		}
	})
	if !found {
		return false
	}
	old := (*g)[i]
	switch {
	case old.first == number && old.end == number+1:
		*g = slices.Delete(*g, i, i+1)
	case old.first == number:
		(*g)[i].first++
	case old.end == number+1:
		(*g)[i].end--
	default:
		(*g)[i].end = number
		*g = slices.Insert(*g, i+1, interval{number + 1, old.end})
	}
	return true
}
