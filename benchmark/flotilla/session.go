package flotilla

import (
	"context"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/nodehost"
)

// SessionsName is what results call the engine of SessionsEngine.
const SessionsName = "flotilla-sessions"

// callersPerSession is how many of the requests in flight share a session.
const callersPerSession = 200

// openTime bounds the opening of a session.
const openTime = 10 * time.Second

// SessionsEngine returns the same engine with every write a call of a client session: beside Engine it tells what sessions cost.
func SessionsEngine() benchmark.Engine {
	engine := Engine()
	engine.Name = SessionsName
	engine.Start = func(ctx context.Context, options benchmark.ClusterOptions) (benchmark.Cluster, error) {
		started, err := Start(ctx, options)
		if err != nil {
			return nil, err
		}
		return &sessionCluster{cluster: started.(*cluster), open: map[[2]int]*sharedSession{}}, nil
	}
	return engine
}

// sessionCluster is a cluster whose callers share sessions.
type sessionCluster struct {
	*cluster
	mu   sync.Mutex
	open map[[2]int]*sharedSession // by host and shard: the last one, which has room
}

type sharedSession struct {
	session *nodehost.Session
	err     error // why it could not be opened
	callers int
}

// Caller implements benchmark.Cluster.
func (c *sessionCluster) Caller(host, shard int, done func(benchmark.Outcome)) benchmark.Caller {
	plain := c.cluster.Caller(host, shard, done).(*caller)
	caller := &sessionCaller{caller: plain, shared: c.session(host, shard)}
	return caller
}

// session returns a session with room for one more caller.
func (c *sessionCluster) session(host, shard int) *sharedSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := [2]int{host, shard}
	shared := c.open[place]
	if shared == nil || shared.err != nil || shared.callers == callersPerSession {
		ctx, cancel := context.WithTimeout(context.Background(), openTime)
		defer cancel()
		shared = &sharedSession{}
		shared.session, shared.err = c.hosts[host].shards[shard].OpenSession(ctx)
		c.open[place] = shared
	}
	shared.callers++
	return shared
}

// sessionCaller issues the requests of one client; its writes are calls of a session.
type sessionCaller struct {
	*caller
	shared *sharedSession
}

func (c *sessionCaller) ProposeAsync(command []byte) error {
	if c.shared.err != nil {
		return c.shared.err
	}
	return backpressure(c.shared.session.ProposeAsync(command, c.written)) // after an error the harness makes another call of it, or gives it up
}

func (c *sessionCaller) Propose(ctx context.Context, command []byte) benchmark.Outcome {
	if c.shared.err != nil {
		return benchmark.Outcome{Err: c.shared.err}
	}
	_, err := c.shared.session.Propose(ctx, command)
	return outcomeOf(err)
}
