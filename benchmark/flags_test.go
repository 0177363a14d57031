package benchmark

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func testEngines() []Engine {
	return []Engine{
		{Name: "one", LogDBs: []string{"seglog", "other"}, Transports: []string{"tcp", "memnet"}, Reads: true},
		{Name: "limit"},
	}
}

func TestFlagsAreRefusedByNameAndRange(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"hosts", "0", "from 1 to 9"},
		{"hosts", "10", "from 1 to 9"},
		{"hosts", "three", "from 1 to 9"},
		{"shards", "0", "from 1 to 100000"},
		{"shards", "100001", "from 1 to 100000"},
		{"shards", "4.5", "from 1 to 100000"},
		{"payload", "15", "from 16 to 1048576"},
		{"payload", "1048577", "from 16 to 1048576"},
		{"in-flight", "-1", "from 1 to 1000000"},
		{"in-flight", "1000001", "from 1 to 1000000"},
		{"in-flight", "99999999999999999999", "from 1 to 1000000"},
		{"duration", "10", "from 10ms to 24h0m0s"},
		{"duration", "1ms", "from 10ms to 24h0m0s"},
		{"warmup", "-1s", "from 0s to 24h0m0s"},
		{"repeat", "0", "from 1 to 1000"},
		{"read-ratio", "1.1", "from 0 to 1"},
		{"read-ratio", "NaN", "from 0 to 1"},
		{"read-ratio", "half", "from 0 to 1"},
		{"offered", "-1", "from 0 to 1e9"},
		{"offered", "much", "from 0 to 1e9"},
		{"delay", "11s", "from 0s to 10s"},
		{"reads", "none", "index, lease"},
		{"snapshot-entries", "-1", "from 0 to"},
		{"own-context", "maybe", "true or false"},
		{"logdb", "paper", "seglog, other"},
		{"transport", "pigeon", "tcp, memnet"},
		{"blocking", "perhaps", "true or false"},
		{"keep", "2", "true or false"},
		{"seed", "-1", "from 0 to 18446744073709551615"},
		{"engine", "two", "one, limit"},
		{"engine", "", "one, limit"},
		{"engine", "one,one", "one, limit"},
		{"engine", "one:slow", "one, limit"},
		{"require", "errors", "METRIC"},
		{"inject", "steal", "lose or double"},
	} {
		t.Run(test.name+"="+test.text, func(t *testing.T) {
			config := DefaultConfig("one")
			flags := NewFlags(&config, testEngines())
			set(t, flags, test.name, test.text)
			err := flags.Err()
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("not refused: %v", err)
			}
			for _, want := range []string{"--" + test.name, test.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not hold %q", err, want)
				}
			}
			if !strings.Contains(err.Error(), "1 error occurred") {
				t.Errorf("one fault became several: %v", err)
			}
		})
	}
}

func TestFlagsThatDoNotGoTogether(t *testing.T) {
	for name, test := range map[string]struct {
		flags map[string]string
		want  string
	}{
		"reads of an engine without": {map[string]string{"engine": "limit", "read-ratio": "0.5"}, "--read-ratio"},
		"require of an absent one":   {map[string]string{"require": "errors<=limit"}, "--require"},
		"leases of one without":      {map[string]string{"reads": "lease"}, "--reads"},
		"snapshots of one without":   {map[string]string{"snapshot-entries": "50000"}, "--snapshot-entries"},
		"an open loop that blocks":   {map[string]string{"offered": "1000", "engine": "one:blocking"}, "--offered"},
		"an open loop with reads":    {map[string]string{"offered": "1000", "read-ratio": "0.5"}, "--offered"},
		"faults in a comparison":     {map[string]string{"engine": "one,limit", "inject": "lose"}, "--inject"},
	} {
		t.Run(name, func(t *testing.T) {
			config := DefaultConfig("one")
			flags := NewFlags(&config, testEngines())
			for name, text := range test.flags {
				set(t, flags, name, text)
			}
			if err := flags.Err(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
			if err := config.Validate(testEngines()); !errors.Is(err, ErrConfig) {
				t.Fatalf("Validate lets it pass: %v", err)
			}
		})
	}
}

func TestEngineRefusesAnothersParts(t *testing.T) {
	engines := append(testEngines(), Engine{Name: "three", LogDBs: []string{"third"}, Transports: []string{"tcp"}})
	config := DefaultConfig("three")
	if err := config.Validate(engines); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--logdb seglog") {
		t.Fatalf("got %v", err)
	}
	config.LogDB, config.Transport = "third", "memnet"
	if err := config.Validate(engines); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--transport memnet") {
		t.Fatalf("got %v", err)
	}
}

func TestAllFaultsAreListedAtOnce(t *testing.T) {
	config := DefaultConfig("one")
	flags := NewFlags(&config, testEngines())
	bad := map[string]string{"hosts": "x", "shards": "0", "duration": "soon", "engine": "two", "require": "errors", "seed": "x"}
	for name, text := range bad {
		set(t, flags, name, text)
	}
	err := flags.Err()
	for name := range bad {
		if err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("--%s is not named in %v", name, err)
		}
	}
	var zero Config
	for _, name := range []string{"hosts", "shards", "payload", "in-flight", "duration", "repeat", "engine", "logdb", "transport"} {
		if err := zero.Validate(testEngines()); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("--%s of the zero value is not named in %v", name, err)
		}
	}
}

func TestFlagsSetTheConfig(t *testing.T) {
	config := DefaultConfig("one")
	flags := NewFlags(&config, testEngines())
	for name, text := range map[string]string{
		"engine": "one:blocking,limit", "hosts": "5", "shards": "7", "payload": "128", "in-flight": "9", "duration": "2s", "warmup": "0s",
		"repeat": "3", "logdb": "other", "transport": "memnet", "blocking": "true", "data": "d", "keep": "true", "json": "j",
		"seed": "12",
	} {
		set(t, flags, name, text)
	}
	set(t, flags, "require", "errors==0")
	set(t, flags, "require", "writes_per_second>=0.25*limit")
	if err := flags.Err(); err != nil {
		t.Fatal(err)
	}
	if config.Hosts != 5 || config.Shards != 7 || config.Payload != 128 || config.InFlight != 9 || config.Duration != 2*time.Second ||
		config.Warmup != 0 || config.Repeat != 3 || config.LogDB != "other" || config.Transport != "memnet" || !config.Blocking ||
		config.Data != "d" || !config.Keep || config.JSON != "j" || config.Seed != 12 || len(config.Require) != 2 ||
		len(config.Engines) != 2 {
		t.Fatalf("got %+v", config)
	}
	if !config.load("one:blocking").blocking {
		t.Fatal("not blocking")
	}
	for _, flag := range flags.List {
		if flag.Usage == "" || flag.Accepts == "" || flag.Type() == "" {
			t.Errorf("--%s lacks a description", flag.Name)
		}
		if text := flag.String(); text == "" && flag.Name != "inject" {
			t.Errorf("--%s has no text", flag.Name)
		}
	}
}

func TestDefaultsAreThoseOfTheHeadline(t *testing.T) {
	config := DefaultConfig("one")
	flags := NewFlags(&config, testEngines())
	want := map[string]string{
		"hosts": "3", "shards": "48", "payload": "16", "in-flight": "10000", "duration": "10s", "warmup": "3s", "repeat": "1",
		"read-ratio": "0", "logdb": "seglog", "transport": "tcp", "blocking": "false", "keep": "false", "engine": "one",
	}
	for _, flag := range flags.List {
		if text, listed := want[flag.Name]; listed && flag.String() != text {
			t.Errorf("--%s is %s, want %s", flag.Name, flag, text)
		}
		delete(want, flag.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing flags: %v", want)
	}
}

func set(t *testing.T, flags *Flags, name, text string) {
	t.Helper()
	for _, flag := range flags.List {
		if flag.Name == name {
			if err := flag.Set(text); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no flag %s", name)
}

func TestInFlightIsSpreadEvenly(t *testing.T) {
	for _, test := range []struct{ shards, inFlight int }{{1, 1}, {3, 10}, {10, 3}, {48, 10000}} {
		o := loadOptions{shards: test.shards, inFlight: test.inFlight}
		total, least, most := 0, test.inFlight, 0
		for shard := range test.shards {
			count := o.clientsOf(shard)
			total += count
			least, most = min(least, count), max(most, count)
		}
		if total != test.inFlight || most-least > 1 {
			t.Errorf("%+v: total %d, from %d to %d", test, total, least, most)
		}
	}
}
