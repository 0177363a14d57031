package tcp

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/transport"
)

func validOptions() Options {
	return Options{ListenAddress: "127.0.0.1:1", Identity: transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 1}}
}

func TestOptionsFaults(t *testing.T) {
	for _, c := range []struct {
		text   string
		change func(*Options)
	}{
		{"ListenAddress", func(o *Options) { o.ListenAddress = "nowhere" }},
		{"AdvertiseAddress is required", func(o *Options) { o.ListenAddress = ":1" }},
		{"AdvertiseAddress is required", func(o *Options) { o.ListenAddress = "[::]:1" }},
		{`AdvertiseAddress "x"`, func(o *Options) { o.AdvertiseAddress = "x" }},
		{"AdvertiseAddress is", func(o *Options) { o.AdvertiseAddress = strings.Repeat("x", 600) + ":1" }},
		{"Deployment is empty", func(o *Options) { o.Identity.Deployment = "" }},
		{"Deployment is 600", func(o *Options) { o.Identity.Deployment = strings.Repeat("x", 600) }},
		{"HostID", func(o *Options) { o.Identity.HostID = 0 }},
		{"Epoch", func(o *Options) { o.Identity.Epoch = 0 }},
		{"ClientAuth", func(o *Options) { o.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} }},
		{"no certificate", func(o *Options) { o.TLS = &tls.Config{} }},
		{"InsecureSkipVerify", func(o *Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} }},
		{"ControlQueueBytes is -1", func(o *Options) { o.ControlQueueBytes = -1 }},
		{"BulkQueueBytes is -1", func(o *Options) { o.BulkQueueBytes = -1 }},
		{"SnapshotQueueBytes is -1", func(o *Options) { o.SnapshotQueueBytes = -1 }},
		{"MaxFrameBytes is 1,", func(o *Options) { o.MaxFrameBytes = 1 }},
		{"MaxFrameBytes is 2147483647", func(o *Options) { o.MaxFrameBytes = 1<<31 - 1 }},
		{"DialTimeout", func(o *Options) { o.DialTimeout = -1 }},
		{"ReconnectMin", func(o *Options) { o.ReconnectMin = -1 }},
		{"ReconnectMax", func(o *Options) { o.ReconnectMax = -1 }},
		{"ControlWriteTimeout", func(o *Options) { o.ControlWriteTimeout = -1 }},
		{"BulkWriteTimeout", func(o *Options) { o.BulkWriteTimeout = -1 }},
		{"KeepAlive", func(o *Options) { o.KeepAlive = -1 }},
		{"ReconnectMin 2s is above ReconnectMax 1s", func(o *Options) { o.ReconnectMin, o.ReconnectMax = 2*time.Second, time.Second }},
	} {
		o := validOptions()
		c.change(&o)
		_, err := New(o)
		if !errors.Is(err, transport.ErrConfig) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want ErrConfig with %q", err, c.text)
		}
	}
}

func TestOptionsListEveryFault(t *testing.T) {
	err := Options{MaxFrameBytes: 1}.Validate()
	for _, text := range []string{"ListenAddress", "Deployment", "HostID", "Epoch", "MaxFrameBytes"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in %v", text, err)
		}
	}
}

func TestOptionsDefaults(t *testing.T) {
	o := validOptions()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	filled := o.withDefaults()
	if filled.queueBytes(transport.LaneBulk) != DefaultBulkQueueBytes || filled.queueBytes(transport.LaneControl) != DefaultControlQueueBytes ||
		filled.queueBytes(transport.LaneSnapshot) != DefaultSnapshotQueueBytes ||
		filled.ReconnectMin != DefaultReconnectMin || filled.ReconnectMax != DefaultReconnectMax || filled.Logger == nil {
		t.Errorf("defaults: %+v", filled)
	}
	o.ReconnectMax = time.Millisecond
	if filled = o.withDefaults(); filled.ReconnectMin != time.Millisecond || o.Validate() != nil {
		t.Errorf("a maximum below the default minimum: %v to %v, %v", filled.ReconnectMin, filled.ReconnectMax, o.Validate())
	}
	o.ReconnectMin, o.ReconnectMax = time.Minute, 0
	if filled = o.withDefaults(); filled.ReconnectMax != time.Minute || o.Validate() != nil {
		t.Errorf("a minimum above the default maximum: %v to %v, %v", filled.ReconnectMin, filled.ReconnectMax, o.Validate())
	}
}

func TestAddressFollowsFromTheListener(t *testing.T) {
	o := validOptions()
	o.ListenAddress = "127.0.0.1:0"
	h := startOptions(t, o, ProtocolVersion)
	if got := h.Identity().Address; got == "" || strings.HasSuffix(got, ":0") {
		t.Errorf("address %q", got)
	}
}

func TestStartAtATakenAddress(t *testing.T) {
	h := startHost(t, 1, nil)
	o := validOptions()
	o.ListenAddress = h.Identity().Address
	second, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(h.Recorder); err == nil || !strings.Contains(err.Error(), o.ListenAddress) {
		t.Errorf("Start: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}
