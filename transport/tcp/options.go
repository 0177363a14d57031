package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/flotilla-raft/flotilla/transport"
)

// Defaults of Options, and what speaks for them.
const (
	// DefaultControlQueueBytes holds some ten thousand heartbeats: far more than a healthy peer ever has waiting.
	DefaultControlQueueBytes = 4 << 20
	// DefaultBulkQueueBytes is about half a second of a 1 Gbit/s link.
	DefaultBulkQueueBytes = 64 << 20
	// DefaultSnapshotQueueBytes is little: what a stream needs is in flight, and what a lost connection discards is sent again.
	DefaultSnapshotQueueBytes = 4 << 20
	// DefaultMaxFrameBytes leaves room for the largest Replicate message that anybody would configure.
	DefaultMaxFrameBytes = 64 << 20
	// DefaultDialTimeout is a few round trips round the globe.
	DefaultDialTimeout = 3 * time.Second
	// DefaultReconnectMin is short against an election timeout, so that a restarted peer is found again before one fires.
	DefaultReconnectMin = 50 * time.Millisecond
	// DefaultReconnectMax keeps a dead peer cheap and a returning one quickly found.
	DefaultReconnectMax = 2 * time.Second
	// DefaultControlWriteTimeout bounds how long a peer that acknowledges nothing goes unnoticed on the control lane.
	DefaultControlWriteTimeout = 5 * time.Second
	// DefaultBulkWriteTimeout is longer: a peer may be slow with bulk data for a while without being dead.
	DefaultBulkWriteTimeout = 30 * time.Second
	// DefaultKeepAlive is the idle time before the first probe, and half of what the probes together may take.
	DefaultKeepAlive = 5 * time.Second
)

// minFrameBytes is the least MaxFrameBytes: below it, coalescing would have to be smaller than its own target.
const minFrameBytes = 64 << 10

// Options configure a Transport. The zero value of each field but ListenAddress and Identity is useful.
type Options struct {
	// ListenAddress is where to listen, "host:port". IPv6 addresses stand in brackets. Port 0 takes a free one. Required.
	ListenAddress string
	// AdvertiseAddress is where others reach this host: the very string that memberships carry, since a peer refuses a
	// connection that was meant for another address. Default: Identity.Address, else the address listened on.
	AdvertiseAddress string
	// Identity is what this host says of itself. Deployment, HostID and Epoch are required.
	Identity transport.HostIdentity
	// TLS, if not nil, is used for both directions, always mutual: a ClientAuth left at zero becomes
	// RequireAndVerifyClientCert, a weaker one is refused. ClientCAs defaults to RootCAs, MinVersion to TLS 1.3,
	// ServerName to the host of the address that is dialled.
	TLS *tls.Config
	// Logger receives connections coming and going, never single messages. Default: nothing is logged.
	Logger *slog.Logger
	// ControlQueueBytes, BulkQueueBytes and SnapshotQueueBytes bound what waits for one peer on a lane, bytes being written
	// included. Defaults: DefaultControlQueueBytes, DefaultBulkQueueBytes, DefaultSnapshotQueueBytes.
	ControlQueueBytes, BulkQueueBytes, SnapshotQueueBytes int
	// MaxFrameBytes bounds the payload of a frame in both directions; a larger message is refused by Send, a larger
	// frame closes the connection. All hosts of a deployment use the same value. Default: DefaultMaxFrameBytes.
	MaxFrameBytes int
	// DialTimeout bounds connecting, TLS and the handshake together, at either end. Default: DefaultDialTimeout.
	DialTimeout time.Duration
	// ReconnectMin and ReconnectMax bound the pause after a failed attempt. It doubles with each failure; the actual
	// pause is drawn between half of it and all of it. Defaults: DefaultReconnectMin, DefaultReconnectMax.
	ReconnectMin, ReconnectMax time.Duration
	// ControlWriteTimeout and BulkWriteTimeout, which is the snapshot lane's too, bound how long a connection may make no progress
	// with bytes outstanding, plus one second for each MiB of a write. Defaults: DefaultControlWriteTimeout, DefaultBulkWriteTimeout.
	ControlWriteTimeout, BulkWriteTimeout time.Duration
	// KeepAlive is the idle time after which the kernel probes a connection. Default: DefaultKeepAlive.
	KeepAlive time.Duration
	// Seed seeds the jitter of reconnection.
	Seed uint64
	// DialContext, if not nil, replaces net.Dialer's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Validate returns an error that wraps transport.ErrConfig and lists every fault, or nil.
func (o Options) Validate() error {
	var faults *multierror.Error
	fault := func(format string, arguments ...any) {
		faults = multierror.Append(faults, fmt.Errorf(format, arguments...))
	}
	o.validateAddresses(fault)
	o.validateIdentity(fault)
	if o.TLS != nil {
		validateTLS(o.TLS, fault)
	}
	o.validateSizes(fault)
	o.validateTimes(fault)
	if err := faults.ErrorOrNil(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrConfig, err)
	}
	return nil
}

func (o Options) validateAddresses(fault func(string, ...any)) {
	host, _, err := net.SplitHostPort(o.ListenAddress)
	if err != nil {
		fault("ListenAddress %q: %w", o.ListenAddress, err)
		return
	}
	advertised := o.advertised()
	if advertised == "" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			fault("AdvertiseAddress is required when ListenAddress %q names no one address", o.ListenAddress)
		}
		return
	}
	if _, _, err := net.SplitHostPort(advertised); err != nil {
		fault("AdvertiseAddress %q: %w", advertised, err)
	}
	if len(advertised) > maxTextLength {
		fault("AdvertiseAddress is %d bytes long, at most %d", len(advertised), maxTextLength)
	}
}

// advertised returns the configured address for others, empty if it follows from the listener.
func (o Options) advertised() string {
	if o.AdvertiseAddress != "" {
		return o.AdvertiseAddress
	}
	return o.Identity.Address
}

func (o Options) validateIdentity(fault func(string, ...any)) {
	if o.Identity.Deployment == "" {
		fault("Identity.Deployment is empty")
	}
	if len(o.Identity.Deployment) > maxTextLength {
		fault("Identity.Deployment is %d bytes long, at most %d", len(o.Identity.Deployment), maxTextLength)
	}
	if o.Identity.HostID == 0 {
		fault("Identity.HostID is 0")
	}
	if o.Identity.Epoch == 0 {
		fault("Identity.Epoch is 0; the first start has epoch 1")
	}
}

func validateTLS(config *tls.Config, fault func(string, ...any)) {
	if config.ClientAuth != tls.NoClientCert && config.ClientAuth != tls.RequireAndVerifyClientCert {
		fault("TLS.ClientAuth is %v; hosts authenticate each other, so it must be RequireAndVerifyClientCert", config.ClientAuth)
	}
	if config.InsecureSkipVerify && config.VerifyPeerCertificate == nil && config.VerifyConnection == nil {
		fault("TLS.InsecureSkipVerify without a verification of its own would trust everybody")
	}
	if len(config.Certificates) == 0 && (config.GetCertificate == nil || config.GetClientCertificate == nil) {
		fault("TLS has no certificate for both directions")
	}
}

func (o Options) validateSizes(fault func(string, ...any)) {
	for _, size := range []struct {
		name  string
		value int
	}{{"ControlQueueBytes", o.ControlQueueBytes}, {"BulkQueueBytes", o.BulkQueueBytes}, {"SnapshotQueueBytes", o.SnapshotQueueBytes}} {
		if size.value < 0 {
			fault("%s is %d, must not be negative", size.name, size.value)
		}
	}
	if o.MaxFrameBytes != 0 && (o.MaxFrameBytes < minFrameBytes || o.MaxFrameBytes > maxFrameLength) {
		fault("MaxFrameBytes is %d, must be between %d and %d", o.MaxFrameBytes, minFrameBytes, maxFrameLength)
	}
}

func (o Options) validateTimes(fault func(string, ...any)) {
	for _, duration := range []struct {
		name  string
		value time.Duration
	}{
		{"DialTimeout", o.DialTimeout}, {"ReconnectMin", o.ReconnectMin}, {"ReconnectMax", o.ReconnectMax},
		{"ControlWriteTimeout", o.ControlWriteTimeout}, {"BulkWriteTimeout", o.BulkWriteTimeout}, {"KeepAlive", o.KeepAlive},
	} {
		if duration.value < 0 {
			fault("%s is %v, must not be negative", duration.name, duration.value)
		}
	}
	filled := o.withDefaults()
	if filled.ReconnectMin > filled.ReconnectMax {
		fault("ReconnectMin %v is above ReconnectMax %v", filled.ReconnectMin, filled.ReconnectMax)
	}
}

func (o Options) withDefaults() Options {
	setDefault(&o.ControlQueueBytes, DefaultControlQueueBytes)
	setDefault(&o.BulkQueueBytes, DefaultBulkQueueBytes)
	setDefault(&o.SnapshotQueueBytes, DefaultSnapshotQueueBytes)
	setDefault(&o.MaxFrameBytes, DefaultMaxFrameBytes)
	setDefault(&o.DialTimeout, DefaultDialTimeout)
	if o.ReconnectMin == 0 {
		// A maximum below the default minimum is a wish for quick attempts, not a fault.
		o.ReconnectMin = DefaultReconnectMin
		if o.ReconnectMax != 0 {
			o.ReconnectMin = min(DefaultReconnectMin, o.ReconnectMax)
		}
	}
	if o.ReconnectMax == 0 {
		o.ReconnectMax = max(DefaultReconnectMax, o.ReconnectMin)
	}
	setDefault(&o.ControlWriteTimeout, DefaultControlWriteTimeout)
	setDefault(&o.BulkWriteTimeout, DefaultBulkWriteTimeout)
	setDefault(&o.KeepAlive, DefaultKeepAlive)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DialContext == nil {
		// Keepalive is set by tuneConnection, for accepted connections too.
		dialer := &net.Dialer{KeepAlive: -1}
		o.DialContext = dialer.DialContext
	}
	if o.TLS != nil {
		o.TLS = mutual(o.TLS)
	}
	return o
}

func setDefault[T int | time.Duration](value *T, standard T) {
	if *value == 0 {
		*value = standard
	}
}

// mutual returns a copy of config that demands a certificate in both directions.
func mutual(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	if config.ClientCAs == nil {
		config.ClientCAs = config.RootCAs
	}
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS13
	}
	return config
}

func (o *Options) queueBytes(lane transport.Lane) int {
	switch lane {
	case transport.LaneControl:
		return o.ControlQueueBytes
	case transport.LaneSnapshot:
		return o.SnapshotQueueBytes
	}
	return o.BulkQueueBytes
}

func (o *Options) writeTimeout(lane transport.Lane) time.Duration {
	if lane == transport.LaneControl {
		return o.ControlWriteTimeout
	}
	return o.BulkWriteTimeout
}

// errStopping is what a lane is taken down with when the transport closes; the handler never sees it.
var errStopping = errors.New("transport is closing")
