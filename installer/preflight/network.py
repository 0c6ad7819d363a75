"""Preflights on a host's network: ports, routes, names."""

from __future__ import annotations

import ipaddress

from installer.preflight.question import Finding, Question, Result, judged

MOST_SEARCHES = 6
"""glibc before 2.26 knows no more, and programs that do not use it still do not."""


def port_free(question: Question) -> Finding:
    """The registry's port must be free, unless our own registry holds it; so must the forward's."""
    facts, wanted = question.facts, [question.forward_port]
    if question.registry_port is not None and facts.registry != "active":
        wanted.append(question.registry_port)
    unknown = [port for port in wanted if port not in facts.ports]
    taken = [port for port in wanted if facts.ports.get(port) is False]
    good = None if unknown else not taken
    seen = f"taken: {', '.join(map(str, taken))}" if taken else f"free: {', '.join(map(str, wanted))}"
    mend = "stop what listens there, or change registry.port or policy.forward_port in site.yaml"
    return judged("port.free", question, good, seen, mend)


def registry_reachable(question: Question) -> Finding:
    """Each host pulls from every registry of the site. Where none listens yet, the peer itself must refuse."""
    reach = {name: question.facts.reach.get(at) for name, at in question.registries.items()}
    bad = [f"{name} ({question.registries[name]}): {said}" for name, said in reach.items() if said not in _REACHED]
    seen = "; ".join(bad) or f"{len(reach)} registry host(s) answer"
    mend = "let the hosts reach each other on registry.port: firewall, routes, the addresses in site.yaml"
    return judged("registry.reachable", question, None if None in reach.values() else not bad, seen, mend)


def route_default(question: Question) -> Finding:
    """Kubernetes and several of its parts choose a host's address by its default route."""
    there = question.facts.default_route
    seen = "there is one" if there else "there is none"
    mend = "a router need not lead anywhere: ip route add default via ROUTER"
    return judged("route.default", question, there, seen, mend, otherwise=Result.WARN)


def dns_servers(question: Question) -> Finding:
    """A resolver on the loopback answers the host, and nothing that runs in a container there."""
    servers = question.facts.nameservers
    if servers is None:
        return judged("dns.servers", question, None, "")
    loopback = [one for one in servers if _is_loopback(one)]
    seen = ", ".join(servers) or "no name server"
    mend = "name the site's name servers in /etc/resolv.conf; names in site.yaml need one, addresses do not"
    return judged("dns.servers", question, bool(servers) and not loopback, seen, mend, otherwise=Result.WARN)


def dns_wildcard(question: Question) -> Finding:
    """A search domain that answers every name catches names that should not exist."""
    caught = question.facts.wildcard
    seen = f"{caught} answers a name that nobody has" if caught else "no search domain answers every name"
    mend = "take that domain from `search` in /etc/resolv.conf"
    return judged("dns.wildcard", question, not caught if caught is not None else None, seen, mend)


def dns_search(question: Question) -> Finding:
    """More search domains than this are cut off, silently."""
    domains = question.facts.searches
    good = len(domains) <= MOST_SEARCHES if domains is not None else None
    seen = f"{len(domains or ())} search domain(s)"
    mend = f"keep at most {MOST_SEARCHES} in /etc/resolv.conf"
    return judged("dns.search", question, good, seen, mend, otherwise=Result.WARN)


def _is_loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


_REACHED = ("open", "refused")
CHECKS = (port_free, registry_reachable, route_default, dns_servers, dns_wildcard, dns_search)
