package network

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Kinds of roles, as the guest binary names them.
const (
	proxyKind  = "proxy"
	workerKind = "worker"
)

// role is a process of the guest binary, before and while it runs.
type role struct {
	kind, name string
	// owner is the address of who runs it, device where its TD is.
	owner, device string
	// pages is the port of its pages. The others are a proxy's: where its router listens and where that leads.
	pages, clients, workers, innerClients, innerWorkers int
	// socket is where a worker's engine is.
	socket string
}

// newRoles are the roles of a network, proxies first. Their TDs and ports are still to be made.
func newRoles(c *Config, sockets string) []*role {
	var out []*role
	add := func(kind string, count, party int) {
		for i := range max(count, 1) {
			r := &role{kind: kind, name: kind, owner: member(party, i)}
			if i > 0 {
				r.name = kind + "-" + strconv.Itoa(i+1)
			}
			if kind == workerKind {
				r.socket = filepath.Join(sockets, r.name+".sock")
			}
			out = append(out, r)
		}
	}
	add(proxyKind, c.Proxies, proxyParty)
	add(workerKind, c.Workers, workerParty)
	return out
}

// freePorts gives every role ports that nobody has. All are held until all are found, so that they differ. They lie below
// those that the system gives to connections, any of which could take one before its role does.
func freePorts(ctx context.Context, roles []*role) error {
	for _, r := range roles {
		want := []*int{&r.pages}
		if r.kind == proxyKind {
			want = append(want, &r.clients, &r.workers, &r.innerClients, &r.innerWorkers)
		}
		for _, to := range want {
			l, port, err := freePort(ctx)
			if err != nil {
				return fmt.Errorf("looking for free ports: %w", err)
			}
			defer l.Close() //nolint:errcheck // until all are found
			*to = port
		}
	}
	return nil
}

func freePort(ctx context.Context) (l net.Listener, port int, err error) {
	const (
		first, last = 20_000, 32_767 // of Linux's net.ipv4.ip_local_port_range the default begins after it
		tries       = 100
	)
	for range tries {
		port = first + rand.IntN(last-first+1) //nolint:gosec // whichever is free
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", local(port)); err == nil {
			return l, port, nil
		}
	}
	return nil, 0, err
}

// describe is the role for people.
func (r *role) describe(dir string) Role {
	out := Role{Name: r.name, Kind: r.kind, Page: fmt.Sprintf("http://127.0.0.1:%d/stats", r.pages), Log: r.log(dir)}
	if r.kind == proxyKind {
		out.Clients = local(r.clients)
	}
	return out
}

func (r *role) log(dir string) string { return filepath.Join(dir, r.name+".log") }

func (r *role) file(dir string) string { return filepath.Join(dir, r.name+".json") }

func (r *role) router(dir string) string { return filepath.Join(dir, r.name+"-router.json") }

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// startRole runs a role's process.
func (n *Network) startRole(ctx context.Context, r *role) {
	n.parts.start(ctx, r.name, func(ctx context.Context) error {
		cmd := exec.Command(n.cfg.Guest, r.kind, "-c", r.file(n.cfg.Dir)) //nolint:noctx // the caller's binary; child ends it
		cmd.Env = []string{"HOME=" + n.cfg.Dir, "PATH=/usr/bin:/bin"}
		return child(ctx, r.log(n.cfg.Dir), cmd)
	})
}

// writeFile writes a document for this user alone.
func writeFile(name string, doc any) error {
	data, err := json.MarshalIndent(doc, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
