# The image that the Operator copies into Python agents' pods: the distribution, the exporter and this package.
# From the top of the work tree:  docker build -f collector/kubernetes/python.Dockerfile -t perfopt-python .
FROM python:3.12-slim AS build
COPY . /source
# The Operator copies /autoinstrumentation into the pod and puts it on PYTHONPATH.
RUN pip install --no-cache-dir --target /autoinstrumentation \
    opentelemetry-distro opentelemetry-exporter-otlp /source

FROM busybox:1.37
COPY --from=build /autoinstrumentation /autoinstrumentation
RUN chmod -R go+r /autoinstrumentation
