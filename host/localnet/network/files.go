package network

import (
	"fmt"
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

// address is that of a party's i-th member: a number that nobody owns.
func address(party, i int) string {
	return "0:" + fmt.Sprintf("%02x", i) + strings.Repeat(fmt.Sprintf("%02x", party), 31)
}

// object is a JSON object.
type object = map[string]any

// simulation is what every role knows of the simulated platform.
type simulation struct {
	root, rootID, pcs       string
	proxyImage, workerImage string
}

// routerFile is the configuration of a role's router: one policy, which admits one image of this platform.
func (s *simulation) routerFile(device, policy, image string, ports ...object) object {
	if ports == nil {
		ports = []object{}
	}
	return object{
		"network": "local", "simulated": object{"device": device, "root": s.root},
		"collateral": object{"pccs_url": s.pcs},
		"policies": []object{{"name": policy, "type": "tdx", "tdx_config": object{
			"allow_simulated": true, "allowed_collateral_root_hashes": []string{s.rootID}, "image_source": "list", "allowed_image_hashes": []string{image},
		}}},
		"ports": ports, "limits": object{"drain": "1s"},
	}
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
	dir, s := n.cfg.Dir, &n.sim
	_, model := n.cfg.model()
	routerDoc, doc := n.workerFiles(r, model)
	if r.kind == proxyKind {
		routerDoc = s.routerFile(r.device, "workers", s.workerImage, reversePort(r.clients, "any", r.innerClients), reversePort(r.workers, "workers", r.innerWorkers))
		doc = object{
			"is_test": true, "owner_address": r.owner, "client_rpc_port": r.innerClients, "workers_rpc_port": r.innerWorkers,
			"http_port": r.pages, "check_worker_hashes": true, "worker_image_hashes": []string{s.workerImage}, "model_names": []string{model},
			"router": r.router(dir),
		}
	}
	if err := writeFile(r.router(dir), routerDoc); err != nil {
		return err
	}
	return writeFile(r.file(dir), doc)
}

func (n *Network) workerFiles(r *role, model string) (routerDoc, doc object) {
	const slots = 8 // of the pinned engine's command line
	proxies := []string{}
	for _, p := range n.roles {
		if p.kind == proxyKind {
			proxies = append(proxies, local(p.workers))
		}
	}
	return n.sim.routerFile(r.device, "proxies", n.sim.proxyImage), object{
		"is_test": true, "owner_address": r.owner, "model_name": model, "http_port": r.pages, "max_active_requests": slots, "proxy_connections": len(proxies),
		"engine": n.cfg.kind(), "engine_socket": r.socket, "proxies": proxies,
		"proxy_image_hashes": []string{n.sim.proxyImage}, "router": r.router(n.cfg.Dir), "policy": "proxies",
		"price_per_token": price,
	}
}
