package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

// shardID names the one Raft group of this program. A larger one would spread its keys over many.
const shardID = 1

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
}

// options are what one server is started with.
type options struct {
	id         uint64
	dir        string
	raft, http string
	members    map[uint64]string // of the first members, by replica ID
	join       bool
}

func run(ctx context.Context, arguments []string, out io.Writer) error {
	var o options
	flags := flag.NewFlagSet("kv", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Uint64Var(&o.id, "id", 0, "replica `ID` of this server, 1 and above")
	flags.StringVar(&o.dir, "dir", "", "`directory` for this server's data")
	flags.StringVar(&o.raft, "raft", "", "`host:port` where the other servers reach this one")
	flags.StringVar(&o.http, "http", "127.0.0.1:8000", "`host:port` for clients")
	flags.BoolVar(&o.join, "join", false, "join a group that exists: it has to add this server")
	flags.Func("members", "first members of a new group, `id=host:port,...`", func(list string) (err error) {
		o.members, err = parseMembers(list)
		return err
	})
	demo := flags.Bool("demo", false, "run three servers in this process, with data that is gone afterwards")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *demo {
		return runDemo(ctx, out)
	}
	return serve(ctx, o, out)
}

func parseMembers(list string) (map[uint64]string, error) {
	members := make(map[uint64]string)
	for part := range strings.SplitSeq(list, ",") {
		number, address, found := strings.Cut(part, "=")
		id, err := strconv.ParseUint(number, 10, 64)
		if !found || err != nil {
			return nil, fmt.Errorf("%q is not id=host:port", part)
		}
		members[id] = address
	}
	return members, nil
}

func runDemo(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "kv")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	members := map[uint64]string{1: "127.0.0.1:7001", 2: "127.0.0.1:7002", 3: "127.0.0.1:7003"}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error)
	for id, address := range members {
		o := options{id: id, dir: filepath.Join(dir, fmt.Sprint(id)), raft: address, http: fmt.Sprint("127.0.0.1:800", id), members: members}
		go func() { ended <- serve(ctx, o, out) }()
	}
	for range members {
		if failed := <-ended; failed != nil {
			err = failed
			stop() // the others too
		}
	}
	return err
}

// serve runs one server until ctx ends.
func serve(ctx context.Context, o options, out io.Writer) error {
	host, err := nodehost.New(nodehost.Config{Dir: o.dir, Address: o.raft})
	if err != nil {
		return err
	}
	// Close hands leadership to another server first, so that clients hardly notice.
	defer host.Close()
	replica := nodehost.ReplicaConfig{ShardID: shardID, ReplicaID: o.id, Members: o.members, Join: o.join}
	factory := func(uint64, uint64) (rsm.StateMachine, error) { return kv.New(), nil }
	if err := host.StartReplica(ctx, replica, factory); err != nil {
		return err
	}
	shard, err := host.Shard(shardID)
	if err != nil {
		return err
	}
	listener := &http.Server{Addr: o.http, Handler: newServer(shard), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	fmt.Fprintf(out, "server %d: clients at http://%s, servers at %s\n", o.id, o.http, o.raft)
	if err := listener.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
