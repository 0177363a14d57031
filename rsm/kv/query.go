package kv

import (
	"errors"
	"fmt"
)

// ErrQuery says that a state machine of this kind does not know a query.
var ErrQuery = errors.New("kv: unknown query")

// QueryError returns what a Lookup of something else answers.
func QueryError(query any) error {
	return fmt.Errorf("%w: %T, want Get, Range or Size", ErrQuery, query)
}

// Get asks for the value of a key. The answer is a Value.
type Get struct{ Key string }

// Value is the answer to Get. Data is read-only.
type Value struct {
	Exists bool
	Data   []byte
}

// DefaultRangeLimit is how many items a Range without a limit returns at most.
const DefaultRangeLimit = 1000

// Range asks for items in the order of their keys. The answer is a Page.
type Range struct {
	// From is the first key that may be in the answer; To, unless it is empty, is the first above that may not.
	From, To string
	// Limit is the most items in the answer; 0 is DefaultRangeLimit, below 0 is no limit.
	Limit int
}

// Most returns how many items a Range asks for at most.
func (r *Range) Most() int {
	switch {
	case r.Limit == 0:
		return DefaultRangeLimit
	case r.Limit < 0:
		return int(^uint(0) >> 1)
	}
	return r.Limit
}

// Item is a key with its value, which is read-only.
type Item struct {
	Key   string
	Value []byte
}

// Page is the answer to Range.
type Page struct {
	Items []Item
	// More says that the limit cut the answer off; the next Range begins at Items' last key with a zero byte behind it.
	More bool
}

// Size asks how many keys there are. The answer is a uint64.
type Size struct{}
