# The API, the worker and every other command, in one image: `docker run consent-ledger COMMAND`.
FROM python:3.13-slim

WORKDIR /app
COPY .requirements/app.txt ./requirements.txt
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.txt \
    && rm requirements.txt \
    && useradd --system --no-create-home --shell /usr/sbin/nologin ledger \
    && mkdir --mode=0700 /keys \
    && chown ledger /keys

COPY ledger ./ledger
COPY projections ./projections
COPY replay ./replay
COPY api ./api

ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER ledger
VOLUME /keys
ENTRYPOINT ["python", "-m", "api.cli"]
