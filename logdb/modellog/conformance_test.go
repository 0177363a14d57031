package modellog_test

import (
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
)

func TestConformance(t *testing.T) {
	logdbtest.Run(t, func(t *testing.T) logdbtest.Place {
		var log *modellog.Log
		return logdbtest.Place{
			Open: func() (logdb.LogDB, error) {
				if log == nil {
					log = modellog.New(modellog.Options{Automatic: true})
				} else {
					log = log.Reopen()
				}
				return log, nil
			},
			Fail: func() { log.Fail(nil) },
		}
	})
}
