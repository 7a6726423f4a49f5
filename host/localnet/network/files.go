package network

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Parties of the network.
const (
	proxyParty  = 0x01
	workerParty = 0x02
	clientParty = 0x03
	// price is what a token costs in a network without a chain, in nanoTON (protocol.md section 4.1).
	price = 1
)

// member is the address of a party's i-th member: a number that nobody owns.
func member(party, i int) string {
	return "0:" + fmt.Sprintf("%02x", i) + strings.Repeat(fmt.Sprintf("%02x", party), 31)
}

// object is a JSON object.
type object = map[string]any

// simulation is what every role knows of the simulated platform.
type simulation struct {
	root, rootID, pcs       string
	proxyImage, workerImage string
}

// routerFile is the configuration of a role's router: one policy, which admits one image of this platform, or those that
// the root contract lists for the other kind of role.
func (n *Network) routerFile(r *role, policy, image string, ports ...object) object {
	if ports == nil {
		ports = []object{}
	}
	rules := object{
		"allow_simulated": true, "allowed_collateral_root_hashes": []string{n.sim.rootID}, "image_source": "list", "allowed_image_hashes": []string{image},
	}
	out := object{
		"network": "local", "simulated": object{"device": r.device, "root": n.sim.root},
		"collateral": object{"pccs_url": n.sim.pcs},
		"policies":   []object{{"name": policy, "type": "tdx", "tdx_config": rules}},
		"ports":      ports, "limits": object{"drain": "1s"},
	}
	if n.chain != nil {
		rules["image_source"] = "chain"
		delete(rules, "allowed_image_hashes")
	}
	return out
}

// reversePort is one that only this machine reaches.
func reversePort(port int, policy string, inner int) object {
	const calm = 4 // bits of work: everybody is near
	return object{
		"port": port, "host": "127.0.0.1", "type": "reverse", "policy_name": policy, "destination_host": "localhost", "destination_port": inner,
		"pow_difficulty": calm,
	}
}

// writeRole writes a role's two files below the folder.
func (n *Network) writeRole(r *role) error {
	files := n.workerFiles
	if r.kind == proxyKind {
		files = n.proxyFiles
	}
	routerDoc, doc := files(r)
	if n.chain != nil {
		doc["root"] = n.chain.section(filepath.Join(n.cfg.Dir, r.name+"-root"))
	}
	if err := writeFile(r.router(n.cfg.Dir), routerDoc); err != nil {
		return err
	}
	return writeFile(r.file(n.cfg.Dir), doc)
}

func (n *Network) proxyFiles(r *role) (routerDoc, doc object) {
	doc = object{
		"is_test": true, "owner_address": r.owner, "client_rpc_port": r.innerClients, "workers_rpc_port": r.innerWorkers,
		"http_port": r.pages, "check_worker_hashes": true, "router": r.router(n.cfg.Dir),
	}
	if n.chain == nil {
		_, model := n.cfg.model()
		doc["worker_image_hashes"], doc["model_names"] = []string{n.sim.workerImage}, []string{model}
	}
	const policy = "workers"
	return n.routerFile(r, policy, n.sim.workerImage, reversePort(r.clients, "any", r.innerClients), reversePort(r.workers, policy, r.innerWorkers)), doc
}

func (n *Network) workerFiles(r *role) (routerDoc, doc object) {
	const (
		slots  = 8 // of the pinned engine's command line
		policy = "proxies"
	)
	proxies := []string{}
	for _, p := range n.roles {
		if p.kind == proxyKind {
			proxies = append(proxies, local(p.workers))
		}
	}
	_, model := n.cfg.model()
	doc = object{
		"is_test": true, "owner_address": r.owner, "model_name": model, "http_port": r.pages, "max_active_requests": slots,
		"proxy_connections": len(proxies), "engine": n.cfg.kind(), "engine_socket": r.socket, "router": r.router(n.cfg.Dir), "policy": policy,
	}
	if n.chain == nil {
		doc["proxies"], doc["proxy_image_hashes"], doc["price_per_token"] = proxies, []string{n.sim.proxyImage}, price
	}
	return n.routerFile(r, policy, n.sim.proxyImage), doc
}
