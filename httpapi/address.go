package httpapi

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/countersign/countersign"
)

// The paths that the machinery around a house asks, and not its callers.
const (
	healthPath  = "/healthz"
	readyPath   = "/readyz"
	metricsPath = "/metrics"
)

// peer is who holds the other end of the connection.
func peer(r *http.Request) netip.Addr {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return address.Addr().Unmap()
}

// address is where a request comes from: the peer, or what the proxy says it is
// forwarding for. Only the last entry is the proxy's own word; what stands before
// it was sent by the caller.
func (a *api) address(r *http.Request) netip.Addr {
	from := peer(r)
	if !a.Proxy.IsValid() || !a.Proxy.Contains(from) {
		return from
	}
	all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	forwarded, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1]))
	if err != nil {
		return from
	}
	return forwarded.Unmap()
}

// neighbourhood is what one sender has at least: of an IPv6 address the network.
func neighbourhood(address netip.Addr) string {
	if address.Is6() {
		if network, err := address.Prefix(64); err == nil {
			return network.String()
		}
	}
	return address.String()
}

// checkPeer refuses who does not come through the proxy. Probes and monitoring
// come from the machine itself, or from what runs it.
func (a *api) checkPeer(r *http.Request) error {
	from := peer(r)
	probe := r.URL.Path == healthPath || r.URL.Path == readyPath || r.URL.Path == metricsPath && from.IsLoopback()
	if !a.Proxy.IsValid() || a.Proxy.Contains(from) || probe {
		return nil
	}
	return countersign.Errorf(countersign.Refused, "not-through-the-proxy", "This house is reached through its proxy only.")
}

// fromThisMachine reports whether a process of this machine asks on its own
// account. What a proxy passes on does not count, whoever it says it is for.
func (a *api) fromThisMachine(r *http.Request) bool {
	from := peer(r)
	passedOn := len(r.Header.Values("X-Forwarded-For"))+len(r.Header.Values("Forwarded")) > 0
	return from.IsLoopback() && !passedOn && !(a.Proxy.IsValid() && a.Proxy.Contains(from))
}
