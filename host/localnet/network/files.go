package network

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// Addresses of the network's parties. They are numbers that nobody owns: there is no chain behind them.
const (
	proxyOwner  = "0:0101010101010101010101010101010101010101010101010101010101010101"
	workerOwner = "0:0202020202020202020202020202020202020202020202020202020202020202"
	clientOwner = "0:0303030303030303030303030303030303030303030303030303030303030303"
	// price is what a token costs in a network without a chain, in nanoTON (protocol.md section 4.1).
	price = 1
)

// ports are those of the proxy.
type ports struct{ clients, workers, innerClients, innerWorkers, proxyPages, workerPages int }

// freePorts asks the system for ports that nobody has.
func freePorts() (p ports, err error) {
	for _, to := range []*int{&p.clients, &p.workers, &p.innerClients, &p.innerWorkers, &p.proxyPages, &p.workerPages} {
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nobody waits: a free port is there or not
		if err != nil {
			return p, fmt.Errorf("looking for free ports: %w", err)
		}
		defer l.Close() //nolint:errcheck // kept open until all are found, so that they differ
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			*to = tcp.Port
		}
	}
	return p, nil
}

// object is a JSON object.
type object = map[string]any

// simulation is what every role knows of the simulated platform.
type simulation struct {
	root, rootID, pcs       string
	proxy, worker           string // devices
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

func reversePort(port int, policy string, inner int) object {
	return object{
		"port": port, "type": "reverse", "policy_name": policy, "destination_host": "localhost", "destination_port": inner, "pow_difficulty": 4,
	}
}

// roleFiles are the files of proxy and worker, by name below the folder.
func (s *simulation) roleFiles(dir, kind, model, socket string, p ports) map[string]object {
	return map[string]object{
		"proxy-router.json": s.routerFile(s.proxy, "workers", s.workerImage,
			reversePort(p.clients, "any", p.innerClients), reversePort(p.workers, "workers", p.innerWorkers)),
		"proxy.json": {
			"is_test": true, "owner_address": proxyOwner, "client_rpc_port": p.innerClients, "workers_rpc_port": p.innerWorkers,
			"http_port": p.proxyPages, "check_worker_hashes": true, "worker_image_hashes": []string{s.workerImage}, "model_names": []string{model},
			"router": filepath.Join(dir, "proxy-router.json"),
		},
		"worker-router.json": s.routerFile(s.worker, "proxies", s.proxyImage),
		"worker.json": {
			"is_test": true, "owner_address": workerOwner, "model_name": model, "http_port": p.workerPages, "max_active_requests": 8,
			"engine": kind, "engine_socket": socket, "proxies": []string{fmt.Sprintf("127.0.0.1:%d", p.workers)},
			"proxy_image_hashes": []string{s.proxyImage}, "router": filepath.Join(dir, "worker-router.json"), "policy": "proxies",
			"price_per_token": price,
		},
	}
}

// writeFiles writes the roles' files for this user alone.
func writeFiles(dir string, files map[string]object) error {
	for name, doc := range files {
		data, err := json.MarshalIndent(doc, "", "  ")
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o600)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
