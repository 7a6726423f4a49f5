package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ton "github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/registry"
	"cocoon/host/localnet/network"
	"cocoon/host/publish"
	"cocoon/measure/measuretest"
	"cocoon/tests/logbook"
)

// chained is a local network whose parts follow a root contract, with the client and the key that change it.
type chained struct {
	t      *testing.T
	about  network.Description
	app    *caller
	client *lite.Client
	owner  *publish.Signer
	// version is the root's, which counts its changes.
	version int
}

func newChained(t *testing.T) *chained {
	t.Helper()
	log := new(logbook.Book)
	n, err := network.Start(t.Context(), network.Config{
		Dir: t.TempDir(), Guest: guest(t), Listen: "127.0.0.1:0", Seed: [measuretest.SeedSize]byte{4}, Proxies: 2, Workers: 2, Chain: true,
		Now: time.Now, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	c := &chained{t: t, about: n.Description()}
	c.app = &caller{t: t, url: c.about.URL, log: log, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		c.app.client.CloseIdleConnections()
		interrupt()
		check(t, <-ended)
	})
	c.client, err = publish.Connect(t.Context(), publish.Endpoint{GlobalConfig: c.about.Chain.GlobalConfig, Now: time.Now})
	check(t, err)
	t.Cleanup(c.client.Close)
	key, err := os.ReadFile(filepath.Join(c.about.Dir, network.OwnerKey))
	check(t, err)
	c.owner, err = publish.ParseSigner(bytes.TrimSpace(key))
	check(t, err)
	return c
}

// publish puts a hash into a list of the root, or takes it out, and returns when that is proven and the gateway knows of it:
// it judges receipts by what it knows.
func (c *chained) publish(list registry.List, hash string, remove bool) {
	c.t.Helper()
	raw, err := hex.DecodeString(hash)
	check(c.t, err)
	root, err := ton.ParseAddr(c.about.Chain.Root)
	check(c.t, err)
	job := publish.Job{
		Root: root, Network: registry.Localnet, Entries: []publish.Entry{{List: list, Hash: bind.Hash(raw)}}, Delete: remove,
		Signer: c.owner, Send: true, Outbox: &chain.MemoryOutbox{}, Now: time.Now,
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err = job.Run(ctx, c.client)
	check(c.t, err)
	c.version++
	seen := fmt.Sprintf(`"version":%d,`, c.version)
	c.app.until("the gateway has read the root", func() bool {
		return strings.Contains(c.app.do(http.MethodGet, "/readyz", "").body, seen)
	})
}

// ask makes a short request.
func (c *chained) ask() reply {
	c.t.Helper()
	return c.app.do(http.MethodPost, chatPath, `{"model":"`+c.about.Model+`","messages":[{"role":"user","content":"Hello"}],"max_tokens":3}`)
}

// until repeats a request until its status is the one that the chain must lead to.
func (c *chained) until(want int) (last reply) {
	c.t.Helper()
	c.app.until("requests end with "+http.StatusText(want), func() bool {
		last = c.ask()
		return last.status == want
	})
	return last
}

// control asks the chain for something that a real one does by itself, at the worst moment.
func (c *chained) control(verb, body string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.about.Chain.Control+"/v1/"+verb, strings.NewReader(body))
	check(c.t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.app.client.Do(r)
	check(c.t, err)
	defer resp.Body.Close() //nolint:errcheck // read side
	if resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s %s: %s", verb, body, resp.Status)
	}
}

// TestALocalNetworkFollowsItsRoot: proxies are found there, tokens cost what it says, and an image that it lists no more
// serves no more, until it is listed again; a chain that stands still stops nobody. Nothing is restarted.
func TestALocalNetworkFollowsItsRoot(t *testing.T) {
	c := newChained(t)
	if len(c.about.Roles) != 4 || c.about.Ready > 10_000 {
		t.Errorf("%+v; promised is to be ready in 10 s", c.about)
	}
	var said struct {
		Usage struct {
			Total int64 `json:"total_cost"`
		}
	}
	r := c.ask()
	if err := json.Unmarshal([]byte(r.body), &said); err != nil || r.status != http.StatusOK || said.Usage.Total != 20*(5+3) {
		t.Fatalf("status %d, %s: %v; 8 tokens at 20 nanoTON are 160", r.status, r.body, err)
	}
	c.app.receipt(r.header)
	c.publish(registry.Workers, c.about.WorkerImage, true)
	if r = c.until(http.StatusServiceUnavailable); !strings.Contains(r.body, "no_workers") {
		t.Errorf("%s", r.body)
	}
	c.publish(registry.Workers, c.about.WorkerImage, false)
	c.app.receipt(c.until(http.StatusOK).header)
	c.publish(registry.Proxies, c.about.ProxyImage, true)
	c.until(http.StatusServiceUnavailable) // workers leave such proxies too: no_workers or no_proxy
	c.publish(registry.Proxies, c.about.ProxyImage, false)
	c.app.receipt(c.until(http.StatusOK).header)
	c.frozen()
}

// frozen: what was known serves on while the chain stands still, and what happened meanwhile is seen when it is back.
func (c *chained) frozen() {
	c.t.Helper()
	c.control("faults", `{"freeze":true}`)
	for range 20 {
		if r := c.ask(); r.status != http.StatusOK {
			c.t.Fatalf("status %d, %s", r.status, r.body)
		}
	}
	if r := c.app.do(http.MethodGet, "/readyz", ""); r.status != http.StatusOK || !strings.Contains(r.body, `"light":"green"`) {
		c.t.Errorf("status %d, %s", r.status, r.body)
	}
	c.control("faults", `{"freeze":false}`)
	c.publish(registry.Workers, c.about.WorkerImage, true)
	c.until(http.StatusServiceUnavailable)
}
