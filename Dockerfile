FROM python:3.12-slim AS build
WORKDIR /app
RUN python -m venv /opt/meterhouse
COPY requirements.lock ./
RUN /opt/meterhouse/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/meterhouse/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
# Nothing here needs root.
RUN useradd --create-home --uid 1000 meterhouse && mkdir /data && chown meterhouse /data
COPY --from=build /opt/meterhouse /opt/meterhouse
ENV PATH=/opt/meterhouse/bin:$PATH METERHOUSE_HOST=0.0.0.0 METERHOUSE_DATA_DIR=/data
USER meterhouse
WORKDIR /home/meterhouse
VOLUME /data
EXPOSE 8888
ENTRYPOINT ["meterhouse"]
CMD ["serve"]
