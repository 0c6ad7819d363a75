"""How each container runtime is told of mirrors: pure functions from a mapping to the files that a node reads.

All of them fail closed: no configuration leaves a way to a registry that is neither a mirror nor named as direct.
"""

RUNTIMES = ("containerd", "k3s", "rke2", "crio", "podman", "docker", "openshift", "flux", "argocd")
"""What `registry.mirror.configure` knows, for a command line that need not load it to name them."""
