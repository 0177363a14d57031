package rsmtest

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Subject is a state machine under test.
type Subject struct {
	// New makes the state machine of one replica, whose data, if it keeps any, are in the place. It is called again for the same place after a crash. Required.
	New func(place Place) (rsm.StateMachine, error)
	// Command draws a command. Among a few hundred of them there should be some of every kind, and many that meet what earlier ones have left. Required.
	Command func(random *rand.Rand) []byte
	// Queries are what a Lookup is asked to show the whole state: the answers are equal, by reflect.DeepEqual, just for equal states. Required.
	Queries []any
	// RealFiles is for on-disk machines that do not take a file system: Place is a temporary directory of the operating system. What a loss of
	// power does to them is not looked at then; where others crash, they are closed and made again.
	RealFiles bool
	// Seed varies what is drawn.
	Seed uint64
}

// Place is where an on-disk state machine keeps its data. Those in memory do not look at it.
type Place struct {
	// FS is a file system in memory that can lose what was not synced, unless Subject.RealFiles is set.
	FS vfs.FS
	// Dir is the directory that the machine may use. It need not exist.
	Dir string
}

// Run runs the suite.
func Run(t *testing.T, subject Subject) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newSuite(t, subject)
			if !c.applies(s.survey()) {
				t.Skip("the state machine does without it")
			}
			c.run(s)
		})
	}
}

// abilities is what a state machine has.
type abilities struct {
	kind             rsm.Kind
	keeper, checksum bool
}

func always(abilities) bool              { return true }
func saved(a abilities) bool             { return a.kind != rsm.KindReplayed }
func onDisk(a abilities) bool            { return a.kind == rsm.KindOnDisk }
func summed(a abilities) bool            { return a.checksum }
func keepingSessions(a abilities) bool   { return a.keeper }
func savedWithSessions(a abilities) bool { return saved(a) && (a.keeper || a.kind != rsm.KindOnDisk) }
func concurrent(a abilities) bool        { return a.kind == rsm.KindConcurrent || a.kind == rsm.KindOnDisk }

type testCase struct {
	name    string
	applies func(abilities) bool
	run     func(*suite)
}

var cases = []testCase{
	{"Deterministic", always, testDeterministic},
	{"CommandsAreReadOnly", always, testCommandsAreReadOnly},
	{"LookupsChangeNothing", always, testLookupsChangeNothing},
	{"AnswersStay", always, testAnswersStay},
	{"LookupsTogether", always, testLookupsTogether},
	{"SnapshotRoundTrip", saved, testSnapshotRoundTrip},
	{"RecoverReplaces", saved, testRecoverReplaces},
	{"LookupsWhileSaving", saved, testLookupsWhileSaving},
	{"ViewsStay", concurrent, testViewsStay},
	{"SavingWhileApplying", concurrent, testSavingWhileApplying},
	{"ShortSnapshots", saved, testShortSnapshots},
	{"LongSnapshots", saved, testLongSnapshots},
	{"SnapshotsThatFail", saved, testSnapshotsThatFail},
	{"SessionsInSnapshots", savedWithSessions, testSessionsInSnapshots},
	{"Reopen", onDisk, testReopen},
	{"CrashAnywhere", onDisk, testCrashAnywhere},
	{"CrashWhileRecovering", onDisk, testCrashWhileRecovering},
	{"SessionsAfterCrash", keepingSessions, testSessionsAfterCrash},
	{"Checksum", summed, testChecksum},
}

// suite is one case under way.
type suite struct {
	testing.TB
	Subject
	random   *rand.Rand
	commands [][]byte
	// known are the answers after each number of commands, from a machine that was shown one at a time; filled by reference.
	known [][]any
}

// workload is how many commands a case is about.
const workload = 96

func newSuite(tb testing.TB, subject Subject) *suite {
	s := &suite{TB: tb, Subject: subject, random: rand.New(rand.NewPCG(subject.Seed, 0x5eed))}
	for range workload {
		s.commands = append(s.commands, s.Command(s.random))
	}
	return s
}

func (s *suite) survey() abilities {
	machine := s.make(s.place())
	defer machine.Close()
	_, keeper := machine.(rsm.SessionKeeper)
	_, checksum := machine.(rsm.Checksummer)
	return abilities{rsm.KindOf(machine), keeper, checksum}
}

// place returns a place where nothing is.
func (s *suite) place() Place {
	if s.RealFiles {
		return Place{vfs.Default, vfs.Default.PathJoin(s.TempDir(), "machine")}
	}
	return Place{vfs.NewCrashableMem(), "data/machine"}
}

func (s *suite) make(place Place) rsm.StateMachine {
	s.Helper()
	machine, err := s.New(place)
	if err != nil {
		s.Fatalf("New: %v", err)
	}
	return machine
}

// answers asks all queries.
func (s *suite) answers(m *replica) (answers []any) {
	s.Helper()
	for _, query := range s.Queries {
		answer, err := m.Lookup(query)
		if err != nil {
			s.Fatalf("Lookup(%+v): %v", query, err)
		}
		answers = append(answers, answer)
	}
	return answers
}

// expect compares what a machine answers with what one does that was shown the first n commands, and no more.
func (s *suite) expect(what string, m *replica, n int) {
	s.Helper()
	s.same(what, s.answers(m), s.reference(n))
}

func (s *suite) same(what string, got, want []any) {
	s.Helper()
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			s.Fatalf("%s: Lookup(%+v) answers\n%.2000s\nwant\n%.2000s", what, s.Queries[i], dump(got[i]), dump(want[i]))
		}
	}
}

// reference returns the answers after the first n commands. Each is of a machine of its own, so that an answer which does not stay
// what it was is noticed where that is looked for, and not taken for the truth.
func (s *suite) reference(n int) []any {
	s.Helper()
	if s.known == nil {
		s.known = make([][]any, len(s.commands)+1)
	}
	if s.known[n] == nil {
		m := s.open(s.place())
		m.applyEach(s.commands[:n])
		s.known[n] = s.answers(m)
	}
	return s.known[n]
}
