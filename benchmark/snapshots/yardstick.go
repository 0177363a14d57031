package snapshots

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/snapshot"
)

const (
	chunkBytes  = 256 << 10 // what a stream writes at a time
	randomBytes = 8 << 20
)

// diskBandwidth is the MiB in a second at which as much as the state becomes durable, in the way of a snapshot that is received: into a pending file of a
// directory of snapshots, chunk by chunk, until its sync has returned. The bytes are random, for what lies below the file system may make less of
// zeros.
func diskBandwidth(dir string, mib int) (perSecond float64, err error) {
	random := make([]byte, randomBytes)
	_, _ = rand.Read(random) // never fails
	directory, err := snapshot.OpenDirectory(vfs.Default, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, directory.Close()) }()
	began := time.Now()
	pending, err := directory.Create()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, pending.Abandon()) }()
	for at := 0; at < mib<<20; at += chunkBytes {
		from := at % randomBytes
		if _, err := pending.Write(random[from : from+chunkBytes]); err != nil {
			return 0, err
		}
	}
	if err := pending.Sync(); err != nil {
		return 0, err
	}
	return float64(mib) / time.Since(began).Seconds(), nil
}

// loopbackBandwidth is the MiB in a second that one TCP connection carries over loopback.
func loopbackBandwidth(mib int) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	failed := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err == nil {
			block := make([]byte, 256<<10)
			for i := 0; i < 4*mib && err == nil; i++ {
				_, err = conn.Write(block)
			}
			err = errors.Join(err, conn.Close())
		}
		failed <- err
	}()
	conn, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
	if err = errors.Join(err, <-failed); err != nil {
		return 0, err
	}
	return float64(n) / (1 << 20) / time.Since(began).Seconds(), nil
}
