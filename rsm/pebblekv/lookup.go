package pebblekv

import (
	"bytes"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// Lookup answers the queries of package kv; kv.ErrQuery for others. Answers are copies.
func (m *Machine) Lookup(query any) (any, error) {
	switch q := query.(type) {
	case kv.Get:
		value, closer, err := m.db.Get(prefixed(nil, dataPrefix, q.Key))
		if errors.Is(err, pebble.ErrNotFound) {
			return kv.Value{}, nil
		}
		if err != nil {
			return nil, err
		}
		answer := kv.Value{Exists: true, Data: append([]byte{}, value...)}
		return answer, closer.Close()
	case kv.Range:
		return m.page(&q)
	case kv.Size:
		return m.meta.sum.Count, nil
	}
	return nil, kv.QueryError(query)
}

func (m *Machine) page(q *kv.Range) (any, error) {
	var page kv.Page
	most := q.Most()
	to := []byte{dataPrefix + 1}
	if q.To != "" {
		to = prefixed(nil, dataPrefix, q.To)
	}
	from := prefixed(nil, dataPrefix, q.From)
	if bytes.Compare(from, to) >= 0 {
		return page, nil
	}
	err := ascend(m.db, from, to, func(key, value []byte) (bool, error) {
		if page.More = len(page.Items) >= most; !page.More {
			page.Items = append(page.Items, kv.Item{Key: string(key[1:]), Value: append([]byte{}, value...)})
		}
		return !page.More, nil
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// ascend hands keys and values in [from, to) to yield, in order, until it says no or fails. They are valid until yield returns.
func ascend(reader pebble.Reader, from, to []byte, yield func(key, value []byte) (bool, error)) (err error) {
	iterator, err := reader.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iterator.Close()) }()
	for valid := iterator.First(); valid; valid = iterator.Next() {
		value, err := iterator.ValueAndErr()
		if err != nil {
			return err
		}
		if more, err := yield(iterator.Key(), value); err != nil || !more {
			return err
		}
	}
	return iterator.Error()
}
