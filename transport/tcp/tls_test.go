package tcp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/transporttest"
)

// authority signs certificates for loopback hosts.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return authority{key, cert, pool}
}

// config returns a configuration with a certificate of the authority, which trusts the authority.
func (a authority) config(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "host"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.ParseIP(ownHost(t)), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Everything that holds over plain TCP holds over mutual TLS.
func TestConformanceOverTLS(t *testing.T) {
	config := newAuthority(t).config(t)
	transporttest.Run(t, func(t *testing.T) transporttest.Network { return loopbackNetwork{host: ownHost(t), tls: config} })
}

func TestTLSRefusals(t *testing.T) {
	ours, foreign := newAuthority(t), newAuthority(t)
	good := ours.config(t)
	trusting := foreign.config(t) // a foreign certificate, but trusts our hosts
	trusting.RootCAs = ours.pool
	for _, c := range []struct {
		name   string
		client *tls.Config
		text   string
	}{
		{"ForeignServer", foreign.config(t), "unknown authority"},
		{"ForeignClient", trusting, "tls: "},
		{"Plain", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := startHost(t, 1, func(o *Options) { o.TLS = good })
			client := startHost(t, 2, func(o *Options) { o.TLS = c.client })
			address := server.Identity().Address
			client.Peer(address).Send(transport.LaneControl, []raftpb.Message{ping(1)})
			if err := waitDown(t, client, address, transport.LaneControl); !strings.Contains(err.Error(), c.text) {
				t.Errorf("PeerDown with %v, want %q", err, c.text)
			}
			if client.Peer(address).Counters().Connects != 0 {
				t.Error("a connection was made")
			}
		})
	}
}

// A client without any certificate gets nowhere, whatever it would say.
func TestTLSWithoutClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	h := startHost(t, 1, func(o *Options) { o.TLS = ca.config(t) })
	conn := tls.Client(dialRaw(t, h), &tls.Config{RootCAs: ca.pool, ServerName: ownHost(t)})
	hello := helloTo(h, transport.LaneBulk)
	_, _ = conn.Write(hello.append(nil))
	if answer, err := readGreeting(conn, ProtocolVersion); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("answer %+v, %v", answer, err)
	}
}

func TestTLSDefaults(t *testing.T) {
	config := newAuthority(t).config(t)
	got := mutual(config)
	if got.ClientAuth != tls.RequireAndVerifyClientCert || got.ClientCAs != config.RootCAs || got.MinVersion != tls.VersionTLS13 {
		t.Errorf("mutual: %v, %v", got.ClientAuth, got.MinVersion)
	}
	if config.ClientAuth != tls.NoClientCert {
		t.Error("the caller's configuration was changed")
	}
	o := validOptions()
	o.TLS = config
	tr, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"a.example:1": "a.example", "[::1]:1": "::1", "[fe80::1%eth0]:1": "fe80::1"} {
		if got := tr.clientTLS(address).ServerName; got != want {
			t.Errorf("server name for %s is %q", address, got)
		}
	}
}

func TestConformanceOverIPv6(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("the machine has no IPv6 loopback: %v", err)
	}
	_ = listener.Close()
	transporttest.Run(t, func(*testing.T) transporttest.Network { return loopbackNetwork{host: "::1"} })
}
