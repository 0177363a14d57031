package tcp

import (
	"net"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

// testHost is a running transport with a recorder for its host.
type testHost struct {
	*Transport
	*transporttest.Recorder
}

// startHost starts a host on this process's loopback address; change may adjust its options and the transport before it starts.
func startHost(t *testing.T, id uint64, change func(*Options)) testHost {
	t.Helper()
	network := loopbackNetwork{host: ownHost(t)}
	options := network.options(transport.HostIdentity{Deployment: "d", HostID: id, Epoch: 1, Address: network.Address(t)})
	if change != nil {
		change(&options)
	}
	return startOptions(t, options, ProtocolVersion)
}

func startOptions(t *testing.T, options Options, version uint16) testHost {
	t.Helper()
	tr, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	tr.version = version
	h := testHost{tr, transporttest.NewRecorder(t)}
	if err := tr.Start(h.Recorder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		h.Finish()
	})
	return h
}

func ping(number uint64) raftpb.Message {
	return raftpb.Message{Type: raftpb.MessageHeartbeat, ShardID: 7, From: 1, To: 2, Request: number}
}

func replicate(number uint64, size int) raftpb.Message {
	var builder raftpb.Builder
	builder.Reset(nil)
	builder.Add(make([]byte, size))
	batch := builder.Seal(7, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 2, Sequence: number}, 0)
	batch.Stamp(3, number+1)
	return raftpb.Message{
		Type: raftpb.MessageReplicate, ShardID: 7, From: 1, To: 2, Term: 3, Request: number, Batches: []raftpb.Batch{batch},
	}
}

// encode returns the bytes of one frame.
func encode(messages ...raftpb.Message) []byte {
	var f frame
	f.reset()
	for i := range messages {
		f.add(&messages[i], raftpb.MessageSize(&messages[i]))
	}
	var whole []byte
	for _, piece := range f.seal(nil) {
		whole = append(whole, piece...)
	}
	return whole
}

// dialRaw connects to a host without any handshake.
func dialRaw(t *testing.T, h testHost) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", h.Identity().Address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// helloTo returns the hello of a host with id 99 that h accepts.
func helloTo(h testHost, lane transport.Lane) greeting {
	return greeting{
		version: ProtocolVersion, kind: kindHello, lane: lane, process: 1, target: h.Identity().Address,
		identity: transport.HostIdentity{Deployment: "d", HostID: 99, Epoch: 3, Address: "stranger:1"},
	}
}

// enter passes the handshake as host 99.
func enter(t *testing.T, h testHost, lane transport.Lane) net.Conn {
	t.Helper()
	conn := dialRaw(t, h)
	hello := helloTo(h, lane)
	if _, err := conn.Write(hello.append(nil)); err != nil {
		t.Fatal(err)
	}
	answer, err := readGreeting(conn, ProtocolVersion)
	if err != nil || answer.kind != kindWelcome {
		t.Fatalf("answer to a good hello: %+v, %v", answer, err)
	}
	return conn
}

// waitDown waits for a PeerDown of address and returns its error.
func waitDown(t *testing.T, h testHost, address string, lane transport.Lane) error {
	t.Helper()
	var last error
	h.Wait("PeerDown of "+address, func(r *transporttest.Recorder) bool {
		event := r.Last(address, lane)
		if event == nil || event.Err == nil {
			return false
		}
		last = event.Err
		return true
	})
	return last
}
