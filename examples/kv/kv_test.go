package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/rsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// group is some servers that run as they do in production, in one process.
type group struct {
	t          *testing.T
	dir        string
	raft, http []string // by replica ID-1
}

func newGroup(t *testing.T, servers int) *group {
	g := &group{t: t, dir: t.TempDir()}
	g.raft, g.http = freeAddresses(t, servers), freeAddresses(t, servers)
	return g
}

func freeAddresses(t *testing.T, n int) (addresses []string) {
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses
}

// start runs a server and returns what stops it.
func (g *group) start(id int, extra ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	arguments := append([]string{"-id", fmt.Sprint(id), "-dir", filepath.Join(g.dir, fmt.Sprint(id)), "-raft", g.raft[id-1],
		"-http", g.http[id-1]}, extra...)
	go func() { ended <- run(ctx, arguments, io.Discard) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("server %d: %v", id, err)
		}
	}
	g.t.Cleanup(stop)
	return stop
}

func (g *group) members(n int) string {
	var parts []string
	for i := range n {
		parts = append(parts, fmt.Sprintf("%d=%s", i+1, g.raft[i]))
	}
	return strings.Join(parts, ",")
}

// ask makes a request of a server until it is answered with want, and returns the body.
func (g *group) ask(want int, method string, id int, path, body string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for {
		status, answer := g.once(ctx, method, id, path, body)
		if status == want {
			return answer
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			g.t.Fatalf("%s %s of server %d: %d %s, want %d", method, path, id, status, answer, want)
		}
	}
}

func (g *group) once(ctx context.Context, method string, id int, path, body string) (int, string) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+g.http[id-1]+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error() // it does not listen yet
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(answer)
}

func TestKeysAreOnEveryServer(t *testing.T) {
	g := newGroup(t, 3)
	for id := 1; id <= 3; id++ {
		g.start(id, "-members", g.members(3))
	}
	g.ask(http.StatusCreated, "PUT", 1, "/keys/hello", "world")
	for id := 1; id <= 3; id++ {
		if got := g.ask(http.StatusOK, "GET", id, "/keys/hello", ""); got != "world" {
			t.Errorf("server %d answers %q", id, got)
		}
	}
	g.ask(http.StatusOK, "PUT", 2, "/keys/hello", "again")
	g.ask(http.StatusOK, "DELETE", 3, "/keys/hello", "")
	g.ask(http.StatusNotFound, "GET", 1, "/keys/hello", "")
	g.ask(http.StatusRequestEntityTooLarge, "PUT", 1, "/keys/large", strings.Repeat("x", 8<<20+1))
}

func TestAServerIsMadeTheLeader(t *testing.T) {
	g := newGroup(t, 3)
	for id := 1; id <= 3; id++ {
		g.start(id, "-members", g.members(3))
	}
	g.ask(http.StatusCreated, "PUT", 1, "/keys/hello", "world")
	for id := 1; id <= 3; id++ {
		got := g.ask(http.StatusOK, "PUT", 1, fmt.Sprint("/leader/", id), "")
		if want := fmt.Sprintf(`{"id":%d,"kind":"voter","address":%q,"leads":true}`, id, g.raft[id-1]); !strings.Contains(got, want) {
			t.Errorf("members are %s, want %s among them", got, want)
		}
	}
	g.ask(http.StatusBadRequest, "PUT", 2, "/leader/x", "")
	g.ask(http.StatusBadRequest, "PUT", 2, "/leader/77", "")
}

func TestTheStoreRefusesWhatIsNoCommand(t *testing.T) {
	for _, command := range []string{"", "\x01", "\x01\x05ab", "\x07\x01a"} {
		if err := newStore().Update([]rsm.Entry{{Index: 1, Command: []byte(command)}}); err == nil {
			t.Errorf("command %q was taken", command)
		}
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	for _, arguments := range [][]string{{"-members", "1"}, {"-members", "x=y"}, {"-nonsense"}, {}} {
		if err := run(context.Background(), arguments, io.Discard); err == nil {
			t.Errorf("%q was taken", arguments)
		}
	}
}
