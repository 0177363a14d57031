package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/rsm/kv"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// group is some servers that run as they do in production, in one process.
type group struct {
	t          *testing.T
	dir        string
	raft, http []string // by replica ID-1
}

func newGroup(t *testing.T, servers int) *group {
	g := &group{t: t, dir: t.TempDir()}
	addresses, err := loopback.Addresses(2 * servers)
	if err != nil {
		t.Fatal(err)
	}
	g.raft, g.http = addresses[:servers], addresses[servers:]
	return g
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

// askUndoing makes a request that changes a key and whose answer tells what was there before. An answer that says neither, as when a leader was lost, leaves
// open whether it was made: before the next attempt the key is brought back to what it was by the opposite.
func (g *group) askUndoing(want int, method string, id int, path, body, opposite string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for ; ; <-pace.C {
		status, answer := g.once(ctx, method, id, path, body)
		if status == want {
			return
		}
		if ctx.Err() != nil {
			g.t.Fatalf("%s %s of server %d: %d %s, want %d", method, path, id, status, answer, want)
		}
		g.once(ctx, opposite, id, path, "before")
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
	g.askUndoing(http.StatusCreated, "PUT", 1, "/keys/hello", "world", "DELETE")
	for id := 1; id <= 3; id++ {
		if got := g.ask(http.StatusOK, "GET", id, "/keys/hello", ""); got != "world" {
			t.Errorf("server %d answers %q", id, got)
		}
	}
	if got := g.ask(http.StatusOK, "GET", 3, "/keys/hello?age=1h", ""); got != "world" {
		t.Errorf("a read of what is there answers %q", got)
	}
	g.ask(http.StatusBadRequest, "GET", 3, "/keys/hello?age=old", "")
	g.ask(http.StatusOK, "PUT", 2, "/keys/hello", "again")
	g.askUndoing(http.StatusOK, "DELETE", 3, "/keys/hello", "", "PUT")
	g.ask(http.StatusNotFound, "GET", 1, "/keys/hello", "")
	g.ask(http.StatusBadRequest, "PUT", 1, "/keys/"+strings.Repeat("k", kv.MaxKeyBytes+1), "its key is too long")
	g.ask(http.StatusRequestEntityTooLarge, "PUT", 1, "/keys/large", strings.Repeat("x", 8<<20+1))
}

// change asks a server for a change of the members until they are those that are wanted, by ID and kind: an answer that got lost on
// the way does not say whether it was made.
func (g *group) change(want, method string, id int, path string) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		status, answer := g.once(ctx, method, id, path, "")
		if status != http.StatusOK {
			g.t.Logf("%s %s: %d %s", method, path, status, answer)
		}
		if g.listed(id) == want {
			return
		}
	}
	g.t.Fatalf("%s %s of server %d: members are %s, want %s", method, path, id, g.listed(id), want)
}

// listed returns the members that a server knows.
func (g *group) listed(id int) string {
	g.t.Helper()
	var members []struct {
		ID            uint64
		Kind, Address string
	}
	if err := json.Unmarshal([]byte(g.ask(http.StatusOK, "GET", id, "/members", "")), &members); err != nil {
		g.t.Fatal(err)
	}
	text := ""
	for _, m := range members {
		if m.Address != g.raft[m.ID-1] {
			g.t.Errorf("server %d is at %s, want %s", m.ID, m.Address, g.raft[m.ID-1])
		}
		text += fmt.Sprint(" ", m.ID, " ", m.Kind)
	}
	return strings.TrimSpace(text)
}

func TestServersJoinReplaceLeadAndLeave(t *testing.T) {
	g := newGroup(t, 5)
	stops := map[int]func(){}
	for id := 1; id <= 3; id++ {
		stops[id] = g.start(id, "-members", g.members(3))
	}
	g.askUndoing(http.StatusCreated, "PUT", 1, "/keys/hello", "world", "DELETE")

	g.start(4, "-join")
	g.change("1 voter 2 voter 3 voter 4 voter", "PUT", 1, "/members/4?address="+g.raft[3])
	if got := g.ask(http.StatusOK, "GET", 4, "/keys/hello", ""); got != "world" {
		t.Errorf("the server that joined answers %q", got)
	}
	g.start(5, "-join")
	g.change("1 voter 2 voter 4 voter 5 voter", "PUT", 2, "/members/5?replaces=3&address="+g.raft[4])
	stops[3]()
	g.ask(http.StatusOK, "PUT", 4, "/leader/5", "")
	g.change("2 voter 4 voter 5 voter", "DELETE", 4, "/members/1")
	stops[1]()
	if got := g.ask(http.StatusOK, "GET", 5, "/keys/hello", ""); got != "world" {
		t.Errorf("after all that the answer is %q", got)
	}
	g.ask(http.StatusBadRequest, "PUT", 2, "/members/6?address=nowhere", "")
	g.ask(http.StatusBadRequest, "PUT", 2, "/members/x", "")
	g.ask(http.StatusBadRequest, "DELETE", 2, "/members/77", "")
	g.ask(http.StatusBadRequest, "PUT", 2, "/leader/x", "")
	g.ask(http.StatusBadRequest, "PUT", 2, "/leader/77", "")
}

func TestAServerIsMadeTheLeader(t *testing.T) {
	g := newGroup(t, 3)
	for id := 1; id <= 3; id++ {
		g.start(id, "-members", g.members(3))
	}
	g.askUndoing(http.StatusCreated, "PUT", 1, "/keys/hello", "world", "DELETE")
	for id := 1; id <= 3; id++ {
		want, got := fmt.Sprintf(`{"id":%d,"kind":"voter","address":%q,"leads":true}`, id, g.raft[id-1]), ""
		for attempts := 0; attempts < 10 && !strings.Contains(got, want); attempts++ { // another one may be elected behind the transfer
			got = g.ask(http.StatusOK, "PUT", 1, fmt.Sprint("/leader/", id), "")
		}
		if !strings.Contains(got, want) {
			t.Errorf("members are %s, want %s among them", got, want)
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
