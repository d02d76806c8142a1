# Once: the tool, its Role (put your namespaces in place of "shop" and "gateway"), and a kubeconfig with a token of it.
make build && export PATH="$PWD/.build/bin:$PATH" # Go 1.26
kubectl apply -f tekton/rbac.yaml
kubectl config set-credentials gray-upgrade --token="$(kubectl -n shop create token gray-upgrade --duration=2h)"
kubectl config set-context gray-upgrade --user=gray-upgrade --cluster=my-cluster --namespace=shop

# For the test accounts of the config file below.
export SHOP_TOKEN_1=... SHOP_SESSION_2=...

# Check everything and print the plan; nothing is changed.
gray-upgrade plan --context=gray-upgrade --service=cart --image=registry.example.com/shop/cart:1.4.2 --config=gray-upgrade.yaml

# Upgrade. Ctrl-C closes gray traffic, and a rerun is safe.
gray-upgrade run --context=gray-upgrade --service=cart --image=registry.example.com/shop/cart:1.4.2 --config=gray-upgrade.yaml

# What runs, what is on hold and how earlier runs ended; and the way home, whatever happened.
gray-upgrade status --context=gray-upgrade --service=cart
gray-upgrade close --context=gray-upgrade --service=cart
