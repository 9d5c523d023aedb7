"""What `userops forget` says, in both languages."""

from __future__ import annotations

__all__ = ["PLACES", "SAID"]

#: By place: its name, and what became of what it held.
PLACES: dict[str, dict[str, tuple[str, str]]] = {
    "log_requests": {
        "en": ("decision log: requests", "removed"),
        "zh": ("决策日志：请求", "已删除"),
    },
    "log_offers": {
        "en": ("decision log: offers shown", "removed; counts per offer, place, channel and day stay"),
        "zh": ("决策日志：已展示的优惠", "已删除；按优惠、位置、渠道、日期的计数保留"),
    },
    "log_decisions": {
        "en": ("decision log: decisions", "removed; a later request for them is refused"),
        "zh": ("决策日志：决策", "已删除；此后针对该用户的请求将被拒绝"),
    },
    "log_feedback": {
        "en": ("decision log: feedback", "removed; counts stay"),
        "zh": ("决策日志：反馈", "已删除；计数保留"),
    },
    "log_contents": {
        "en": ("decision log: vectors, histories", "removed"),
        "zh": ("决策日志：特征向量与历史", "已删除"),
    },
    "log_actions": {
        "en": ("decision log: actions for caps", "removed; caps over everybody go on counting them"),
        "zh": ("决策日志：频控动作", "已删除；全局上限的计数不变"),
    },
    "log_live_events": {
        "en": ("decision log: live events", "removed; later ones are rejected as FORGOTTEN"),
        "zh": ("决策日志：实时事件", "已删除；此后的事件以 FORGOTTEN 拒收"),
    },
    "log_settings": {
        "en": ("decision log: consents, opt-outs, tags", "removed: nobody approaches whom nobody knows"),
        "zh": ("决策日志：同意、退订、标签", "已删除：不再识别，也就不再触达"),
    },
    "events": {
        "en": ("event store: events", "removed; the ledger counts them as forgotten"),
        "zh": ("事件库：事件", "已删除；账本计为“已遗忘”"),
    },
    "quarantine": {
        "en": ("event store: refused lines", "removed, where a line names them"),
        "zh": ("事件库：隔离的行", "已删除提及该用户的行"),
    },
    "attributes": {"en": ("event store: attributes", "removed"), "zh": ("事件库：用户属性", "已删除")},
    "table_user": {
        "en": ("features: user", "rows of every snapshot removed"),
        "zh": ("特征：用户", "已从每个快照删除"),
    },
    "table_user_category": {
        "en": ("features: user by category", "rows of every snapshot removed"),
        "zh": ("特征：用户×品类", "已从每个快照删除"),
    },
    "table_history": {
        "en": ("features: history", "rows of every snapshot removed"),
        "zh": ("特征：行为历史", "已从每个快照删除"),
    },
    "table_profile": {
        "en": ("features: profile", "rows of every snapshot removed; item counts stay, they name nobody"),
        "zh": ("特征：画像", "已从每个快照删除；商品计数不含个人，保留"),
    },
    "online": {"en": ("online store", "all views removed"), "zh": ("在线存储", "已删除全部视图")},
    "forecasts": {"en": ("back-test forecasts", "rows removed"), "zh": ("回测预测", "已删除相应行")},
    "desk": {"en": ("desk: lists and examples", "entries removed"), "zh": ("评审台：名单与示例", "已删除条目")},
    "reports": {
        "en": ("reports of this home", "files that name them removed"),
        "zh": ("本目录的报告", "已删除提及的文件"),
    },
    "lines": {"en": ("service.log", "ids overwritten"), "zh": ("service.log", "已用星号覆盖编号")},
    "identities": {"en": ("identity map", "removed"), "zh": ("身份映射", "已删除")},
}

SAID: dict[str, dict[str, str]] = {
    "title": {"en": "what was known of this person", "zh": "此人的数据"},
    "columns": {"en": "place|removed|", "zh": "位置|删除数|"},
    "nothing": {
        "en": "nothing is left of this person: every place was looked at, and both lists hold the digest {digest}",
        "zh": "此人已无任何数据：所有位置均已检查，两份名单均含摘要 {digest}",
    },
    "unknown": {
        "en": "nothing was known of this person; from now on nothing will be (digest {digest}). Was the id a slip? The "
        "same command with --lift",
        "zh": "此前没有此人的数据；今后也不会保留（摘要 {digest}）；若编号有误，请加 --lift 重新运行",
    },
    "done": {
        "en": "forgotten: {removed} rows under {ids} id(s); digest {digest}; ingest skips and the service refuses them",
        "zh": "已遗忘：{ids} 个编号下共 {removed} 行；摘要 {digest}；此后导入跳过、服务拒收",
    },
    "audited": {"en": "row {seq} of the audit table says so", "zh": "审计表第 {seq} 行已记录"},
    "models": {
        "en": "not trained again: {versions} learned from data with this person in it; they hold weights and counts "
        "over everybody, no row of anybody. userops train learns without them.",
        "zh": "未重新训练：{versions} 的训练数据曾包含此人；模型只含权重与汇总计数，不含个人行。"
        "运行 userops train 后即不再包含。",
    },
    "all_models": {
        "en": "not trained again: {versions} may have learned from this person (the first event is not known any more)",
        "zh": "未重新训练：{versions} 可能学过此人的数据（首个事件时间已不可知）",
    },
    "no_models": {"en": "no registered model has learned from this person", "zh": "没有已注册的模型学过此人的数据"},
    "hashed": {
        "en": "MLflow's artefacts: {named} files name them by id, {hashed} by 16 digits of a hash, which stay",
        "zh": "MLflow 工件：{named} 个文件含其编号，{hashed} 个文件仅含 16 位哈希（保留）",
    },
    "elsewhere": {
        "en": "MLflow's artefacts lie on another machine: they name people by 16 digits of a hash",
        "zh": "MLflow 工件在另一台机器上：其中仅以 16 位哈希指代个人",
    },
    "scratch": {
        "en": "{scratch} unfinished file(s) or folder(s) of the last day; they go with what writes them, or later here",
        "zh": "有 {scratch} 个最近一天的未完成文件或目录；写入结束即清除，或一天后由本命令清除",
    },
    "yours": {
        "en": "not touched, they lie where you put them: source files, scores and audiences written with --out, "
        "exported decisions, reports written to a file, backups, logs of proxies; and a Redis or PostgreSQL may keep "
        "old pages until it next rewrites its files",
        "zh": "未处理（由您存放）：源文件、以 --out 写出的评分与人群、导出的决策、另存的报告、备份、代理日志；"
        "Redis 与 PostgreSQL 在下次重写文件前可能保留旧页",
    },
    "lifted": {
        "en": "off {lists} list(s): from now on this is somebody new; what was erased stays erased",
        "zh": "已从 {lists} 份名单移除：此人从现在起视为新用户；已删除的数据不会恢复",
    },
    "not_listed": {"en": "this person is on no list", "zh": "此人不在任何名单上"},
    "ask": {
        "en": "erase everything known of {user_id}{others}? It cannot be taken back",
        "zh": "删除 {user_id}{others} 的全部数据？此操作不可撤销",
    },
    "others": {"en": " (and {names})", "zh": "（及 {names}）"},
    "kept": {"en": "nothing was changed", "zh": "未作任何更改"},
}
