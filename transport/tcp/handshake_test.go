package tcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// What the accepting side refuses, with which error, and that it says why.
func TestHandshakeRefusalsOfTheAcceptor(t *testing.T) {
	h := startHost(t, 1, nil)
	_ = enter(t, h, transport.LaneControl) // host 99 is known with epoch 3 and process 1
	for _, c := range []struct {
		name   string
		change func(*greeting)
		want   error
		text   string
	}{
		{"Version", func(g *greeting) { g.version = 2 }, transport.ErrVersion, "ours 1, theirs 2"},
		{"Deployment", func(g *greeting) { g.identity.Deployment = "e" }, transport.ErrDeployment, `ours "d", theirs "e"`},
		{"Target", func(g *greeting) { g.target = "elsewhere:1" }, transport.ErrWrongHost, `"elsewhere:1" was dialled`},
		{"OwnHostID", func(g *greeting) { g.identity.HostID = 1 }, transport.ErrWrongHost, "our own host id"},
		{"Epoch", func(g *greeting) { g.identity.Epoch = 2 }, transport.ErrStaleEpoch, "epoch 2, was seen with 3"},
		{"SecondProcess", func(g *greeting) { g.process = 2 }, transport.ErrStaleEpoch, "second process"},
		{"Kind", func(g *greeting) { g.kind = kindWelcome }, transport.ErrFrame, "wanted a hello"},
		{"NoHostID", func(g *greeting) { g.identity.HostID = 0 }, transport.ErrFrame, "without host id"},
		{"NoAddress", func(g *greeting) { g.identity.Address = "" }, transport.ErrFrame, "address"},
		{"Lane", func(g *greeting) { g.lane = transport.LaneCount }, transport.ErrFrame, "lane 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialRaw(t, h)
			hello := helloTo(h, transport.LaneBulk)
			c.change(&hello)
			if _, err := conn.Write(hello.append(nil)); err != nil {
				t.Fatal(err)
			}
			answer, err := readGreeting(conn, ProtocolVersion)
			if err != nil || answer.kind != kindRefusal {
				t.Fatalf("answer: %+v, %v", answer, err)
			}
			refused := answer.refusalError(ProtocolVersion)
			if !errors.Is(refused, c.want) || !strings.Contains(answer.detail, c.text) {
				t.Errorf("refused with %v, want %v with %q", refused, c.want, c.text)
			}
			if !strings.Contains(refused.Error(), "protocol version ours 1, theirs 1") {
				t.Errorf("%q does not name both versions", refused)
			}
			if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("after the refusal the connection says %v, want EOF", err)
			}
		})
	}
	if got := h.StrangerCounters().HandshakesRefused; got != 10 {
		t.Errorf("%d refused handshakes were counted, want 10", got)
	}
}

// Bytes that are no greeting end the connection without an answer that the peer could misread.
func TestHandshakeGarbage(t *testing.T) {
	h := startHost(t, 1, nil)
	good := func() []byte {
		hello := helloTo(h, transport.LaneBulk)
		return hello.append(nil)
	}
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"Foreign", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"TooLong", append(good()[:offLength], 0xff, 0xff, 0xff, 0x7f)},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dialRaw(t, h)
			if _, err := conn.Write(c.bytes); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if len(answer) != 0 || err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("answer %q, %v", answer, err)
			}
		})
	}
	t.Run("Checksum", func(t *testing.T) {
		conn := dialRaw(t, h)
		damaged := good()
		damaged[headSize] ^= 1
		if _, err := conn.Write(damaged); err != nil {
			t.Fatal(err)
		}
		answer, err := readGreeting(conn, ProtocolVersion)
		if err != nil || answer.refusal != refusalGarbage || !strings.Contains(answer.detail, "checksum") {
			t.Errorf("answer %+v, %v", answer, err)
		}
	})
}

// What the dialling side makes of the answers of an acceptor, real or not.
func TestHandshakeRefusalsAtTheDialler(t *testing.T) {
	welcome := greeting{
		version: ProtocolVersion, kind: kindWelcome, lane: transport.LaneBulk, process: 1,
		identity: transport.HostIdentity{Deployment: "d", HostID: 99, Epoch: 3, Address: "x:1"},
	}
	for _, c := range []struct {
		name   string
		answer func() []byte
		want   error
		text   string
	}{
		{"Version", func() []byte { g := welcome; g.version = 9; return g.append(nil) }, transport.ErrVersion, "ours 1, theirs 9"},
		{"Deployment", func() []byte { g := welcome; g.identity.Deployment = "e"; return g.append(nil) }, transport.ErrDeployment, `theirs "e"`},
		{"OwnHostID", func() []byte { g := welcome; g.identity.HostID = 1; return g.append(nil) }, transport.ErrWrongHost, "our own host id"},
		{"Lane", func() []byte { g := welcome; g.lane = transport.LaneControl; return g.append(nil) }, transport.ErrFrame, "lane"},
		{"Hello", func() []byte { g := welcome; g.kind = kindHello; return g.append(nil) }, transport.ErrFrame, "kind 1"},
		{"Garbage", func() []byte { return bytes.Repeat([]byte("x"), 100) }, transport.ErrFrame, "begins with"},
		{"Nothing", func() []byte { return nil }, io.EOF, "reading the handshake"},
		{"CutOff", func() []byte { return welcome.append(nil)[:30] }, io.ErrUnexpectedEOF, "reading the handshake"},
		{"RefusedForNoKnownReason", func() []byte {
			g := welcome
			g.kind, g.refusal, g.detail = kindRefusal, 77, "a later version knows"
			return g.append(nil)
		}, transport.ErrFrame, "a later version knows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := startHost(t, 1, func(o *Options) { o.ReconnectMin, o.ReconnectMax = time.Hour, time.Hour })
			address := serveOnce(t, c.answer())
			p := h.Peer(address)
			p.Send(transport.LaneBulk, []raftpb.Message{ping(1)})
			err := waitDown(t, h, address, transport.LaneBulk)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("PeerDown with %v, want %v with %q", err, c.want, c.text)
			}
			if p.Counters().ConnectFailures != 1 {
				t.Errorf("counters: %+v", p.Counters())
			}
		})
	}
}

// serveOnce takes one connection, reads a hello, writes an answer, and closes.
func serveOnce(t *testing.T, answer []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = conn.Close() }()
		if _, err = readGreeting(conn, ProtocolVersion); err == nil {
			_, err = conn.Write(answer)
		}
		done <- err
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the answering side: %v", err)
		}
	})
	return listener.Addr().String()
}

// Two real hosts of different versions: both name both versions.
func TestHandshakeBetweenVersions(t *testing.T) {
	network := loopbackNetwork{host: ownHost(t)}
	b := startHost(t, 2, nil)
	options := network.options(transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 1, Address: network.Address(t)})
	a := startOptions(t, options, 2)
	address := b.Identity().Address
	a.Peer(address).Send(transport.LaneControl, []raftpb.Message{ping(1)})
	err := waitDown(t, a, address, transport.LaneControl)
	if !errors.Is(err, transport.ErrVersion) || !strings.Contains(err.Error(), "ours 2, theirs 1") {
		t.Errorf("PeerDown with %v", err)
	}
	if err := b.Transport.Close(); err != nil { // it counts after it has answered
		t.Fatal(err)
	}
	if a.Peer(address).Counters().HandshakesRefused == 0 || b.StrangerCounters().HandshakesRefused == 0 {
		t.Error("the refused handshake was not counted on both sides")
	}
}

// A peer that accepts and then says nothing is given up after the dial timeout.
func TestHandshakeTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	h := startHost(t, 1, func(o *Options) { o.DialTimeout = 20 * time.Millisecond })
	address := listener.Addr().String()
	h.Peer(address).Send(transport.LaneControl, []raftpb.Message{ping(1)})
	var timeout net.Error
	if err := waitDown(t, h, address, transport.LaneControl); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("PeerDown with %v, want a timeout", err)
	}
}

func FuzzGreeting(f *testing.F) {
	for _, g := range []greeting{
		{version: ProtocolVersion, kind: kindHello, lane: transport.LaneBulk, process: 7, target: "b:1",
			identity: transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 2, Address: "a:1"}},
		{version: ProtocolVersion, kind: kindRefusal, refusal: refusalDeployment, detail: "no",
			identity: transport.HostIdentity{Deployment: "e", HostID: 1, Epoch: 2, Address: "a:1"}},
		{version: 2, kind: kindWelcome, identity: transport.HostIdentity{Deployment: "e", HostID: 1, Epoch: 2, Address: "a:1"}},
	} {
		whole := g.append(nil)
		f.Add(whole)
		f.Add(whole[:len(whole)-1])
		f.Add(whole[:headSize])
	}
	f.Add([]byte(greetingMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := readGreeting(bytes.NewReader(data), ProtocolVersion)
		if err != nil {
			for _, kind := range []error{transport.ErrFrame, transport.ErrVersion, io.EOF, io.ErrUnexpectedEOF} {
				if errors.Is(err, kind) {
					return
				}
			}
			t.Fatalf("untyped error %v", err)
		}
		again := g.append(nil)
		// There is one way to write a greeting.
		if !bytes.Equal(again, data[:len(again)]) {
			t.Fatalf("accepted %x, which is written %x", data, again)
		}
	})
}

func TestGreetingTextsAreCut(t *testing.T) {
	g := greeting{version: ProtocolVersion, kind: kindRefusal, detail: strings.Repeat("x", 10_000),
		identity: transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 1, Address: "a:1"}}
	got, err := readGreeting(bytes.NewReader(g.append(nil)), ProtocolVersion)
	if err != nil || len(got.detail) != maxTextLength {
		t.Errorf("detail of %d bytes, %v", len(got.detail), err)
	}
}

func TestRefusalsAndErrorsCorrespond(t *testing.T) {
	for reason, sentinel := range refusals {
		if sentinel == nil {
			continue
		}
		if got := refusalFor(fmt.Errorf("%w: detail", sentinel)); got != refusal(reason) {
			t.Errorf("%v travels as %d, want %d", sentinel, got, reason)
		}
	}
	if got := refusalFor(io.EOF); got != refusalGarbage {
		t.Errorf("an unknown error travels as %d", got)
	}
}
