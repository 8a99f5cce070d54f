# The whole of Drawbridge in one image: docker-compose.yml runs it as one service with its data on a volume.
FROM python:3.11-slim
RUN useradd --create-home --uid 10001 drawbridge
WORKDIR /srv/drawbridge
COPY --chown=drawbridge:drawbridge . .
RUN mkdir -p .local && chown drawbridge:drawbridge . .local
USER drawbridge
RUN script/python script/bootstrap.py runtime -c "print('environment ready')"
ENV WEB_HOST=0.0.0.0
EXPOSE 8000
VOLUME /srv/drawbridge/.local
CMD ["script/server", "--port", "8000"]
