package rooted_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/tests/inputs"
)

// roles starts a proxy and a worker that know nothing of their network but the root.
func (w *world) roles(proxy, worker machine, socket, maxAge string) (stopWorker func()) {
	w.t.Helper()
	w.run("proxy", w.write("proxy.json", object{
		"is_test": true, "owner_address": "0:" + strings.Repeat("01", 32), "client_rpc_port": w.ports["inner clients"],
		"workers_rpc_port": w.ports["inner workers"], "http_port": w.ports["proxy"], "root": w.section("proxy", maxAge),
		"router": w.write("proxy-router.json", w.routerFile(proxy, "workers", w.reversePort("clients", "any"), w.reversePort("workers", "workers"))),
	}))
	return w.run("worker", w.write("worker.json", object{
		"is_test": true, "owner_address": "0:" + strings.Repeat("02", 32), "model_name": model, "http_port": w.ports["worker"], "engine": "fake",
		"engine_socket": socket, "policy": "proxies", "root": w.section("worker", maxAge),
		"router": w.write("worker-router.json", w.routerFile(worker, "proxies")),
	}))
}

func (w *world) publish(l registry.List, h bind.Hash) {
	w.t.Helper()
	w.tell(&bind.RootHash{Change: l.Op(true), Hash: h})
}

// TestRolesFollowTheRoot: nothing is listed at first, and the roles wait and say what is missing; one publication after the
// other they begin to serve, without a restart. The chain freezes: requests go on. It thaws with a new price, which the
// next receipts have. What is taken off the list is let go.
func TestRolesFollowTheRoot(t *testing.T) {
	w := newWorld(t)
	proxy, worker := w.launch("proxy"), w.launch("worker")
	_, socket := w.engine()
	w.roles(proxy, worker, socket, "2h")

	w.waits("proxy", "image_hash_not_listed", proxy.image.String(), "(proxy) not in root version 0", "cocoon root publish")
	w.waits("worker", "image_hash_not_listed", worker.image.String(), "(worker) not in root version 0")
	w.publish(registry.Proxies, bind.Hash(proxy.image))
	w.serves("proxy")
	w.publish(registry.Workers, bind.Hash(worker.image))
	w.waits("worker", "model_hash_not_listed", "model "+model+" not in root version 2", "publish the model")
	w.publish(registry.Models, registry.ModelHash(model))
	w.waits("worker", "no_proxy_ready")
	w.tell(&bind.RootRegisterProxy{Addr: bind.NetAddr(fmt.Sprintf("127.0.0.1:%d 127.0.0.1:%d", w.ports["workers"], w.ports["clients"]))})
	w.serves("worker")
	w.startGateway()
	first := w.chat()
	if first.Price != "20" || first.Config != 4 || first.Params != 1 {
		t.Errorf("the first receipt: %+v", first)
	}

	w.server.Freeze(true)
	w.tell(&bind.RootChangePrice{PricePerToken: 30, WorkerFee: 25})
	if frozen := w.chat(); frozen != first {
		t.Errorf("with a frozen chain: %+v, before %+v", frozen, first)
	}
	if r := w.ready("proxy"); !r.Ready || r.Chain.Light != "green" || r.Chain.RootVersion != 4 || !r.Chain.Known {
		t.Errorf("the proxy with a frozen chain: %+v", r)
	}
	w.server.Freeze(false)
	w.until(func() (bool, string) {
		now := w.chat()
		return now.Price == "30" && now.Config == 5 && now.Params == 2, fmt.Sprintf("after the thaw: %+v", now)
	})

	w.tell(&bind.RootHash{Change: registry.Models.Op(false), Hash: registry.ModelHash(model)})
	w.waits("worker", "model_hash_not_listed", "not in root version 6")
	w.until(func() (bool, string) {
		status, _, body := w.post("good")
		return status == http.StatusServiceUnavailable, fmt.Sprintf("a model that was taken off the list: %d %s", status, body)
	})
}

// TestARootThatIsTooOldIsRefusedByNameAndComesBack freezes the chain beyond the limit of the roles, which say so and serve
// nobody; a restart of one of them while the chain is frozen changes nothing. When it thaws all is well again.
func TestARootThatIsTooOldIsRefusedByNameAndComesBack(t *testing.T) {
	if !inputs.Wants("chain") {
		t.Skip("waits for a block to grow old: set COCOON_TEST=chain")
	}
	w := newWorld(t)
	proxy, worker := w.launch("proxy"), w.launch("worker")
	_, socket := w.engine()
	w.publish(registry.Proxies, bind.Hash(proxy.image))
	w.publish(registry.Workers, bind.Hash(worker.image))
	w.publish(registry.Models, registry.ModelHash(model))
	w.tell(&bind.RootRegisterProxy{Addr: bind.NetAddr(fmt.Sprintf("127.0.0.1:%d 127.0.0.1:%d", w.ports["workers"], w.ports["clients"]))})
	stopWorker := w.roles(proxy, worker, socket, "8s")
	w.serves("worker")
	w.startGateway()
	w.chat()
	w.server.Freeze(true)
	began := time.Now()
	w.chat()
	w.waits("proxy", "root_config_stale", "stale head", "at most 8s")
	w.waits("worker", "root_config_stale", "stale head")
	if took := time.Since(began); took < 5*time.Second {
		t.Errorf("refused after %s", took)
	}
	if status, _, body := w.post("good"); status != http.StatusServiceUnavailable {
		t.Errorf("served by a root that is too old: %d %s", status, body)
	}
	stopWorker()
	w.run("worker", w.dir+"/worker.json")
	w.waits("worker", "root_config_stale", "stale head")
	w.server.Freeze(false)
	w.serves("proxy")
	w.serves("worker")
	w.chat()
}
