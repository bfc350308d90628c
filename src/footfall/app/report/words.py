"""All texts of the report, in one table: key -> (English, 繁體中文, 简体中文).

Placeholders in braces are the same in all three. Keys that start with ``unit.`` replace the plain key where a
visit earns clicks, not money.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Language = Literal["en", "zh-Hant", "zh-Hans"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


def text(key: str, language: Language, unit_reward: bool = False) -> str:
    """The text of ``key``. Raises KeyError where there is none."""
    special = TEXTS.get(f"unit.{key}") if unit_reward else None
    return (special or TEXTS[key])[LANGUAGES.index(language)]


TEXTS: Final[dict[str, tuple[str, str, str]]] = {
    # ------------------------------------------------------------ page
    "title": ("{workspace}: traffic report", "{workspace} 流量報告", "{workspace} 流量报告"),
    "period": (
        "{first} to {last} · {days} days · times in {zone} · made {created}",
        "{first} 至 {last} · 共 {days} 天 · 時區 {zone} · 產生於 {created}",
        "{first} 至 {last} · 共 {days} 天 · 时区 {zone} · 生成于 {created}",
    ),
    "period_one": (
        "{first} · 1 day · times in {zone} · made {created}",
        "{first} · 1 天 · 時區 {zone} · 產生於 {created}",
        "{first} · 1 天 · 时区 {zone} · 生成于 {created}",
    ),
    "theme": ("Light / dark", "淺色 / 深色", "浅色 / 深色"),
    "contents": ("Contents", "目錄", "目录"),
    "filter": ("Filter rows", "篩選", "筛选"),
    "sort_hint": ("Select a heading to sort.", "點選欄名可排序。", "点击列名可排序。"),
    "as_table": ("As a table", "以表格檢視", "以表格查看"),
    "colon": (": ", "：", "："),
    "list_separator": (", ", "、", "、"),
    "nav.outcome": ("Outcome", "總覽", "总览"),
    "nav.value": ("Value", "價值", "价值"),
    "nav.traffic": ("Traffic", "流量", "流量"),
    "nav.why": ("Why", "原因", "原因"),
    "nav.compare": ("Comparison", "比較", "对比"),
    "nav.segments": ("Segments", "客群", "客群"),
    "nav.checks": ("Checks", "檢查", "检查"),
    "nav.reading": ("How to read", "閱讀說明", "阅读说明"),
    # ------------------------------------------------------------ words of the trade
    "provider": ("Provider", "商家", "商家"),
    "category": ("Category", "品類", "品类"),
    "visitors": ("Visitors", "訪客數", "访客数"),
    "orders": ("Orders", "訂單數", "订单数"),
    "unit.orders": ("Clicks", "點擊數", "点击数"),
    "gmv": ("GMV", "成交額 GMV", "成交额 GMV"),
    "unit.gmv": ("Clicks", "點擊數", "点击数"),
    "conversion": ("Conversion", "轉化率", "转化率"),
    "unit.conversion": ("Click rate", "點擊率", "点击率"),
    "aov": ("Average order", "客單價", "客单价"),
    "visitor_value": ("Visitor value", "訪客價值", "访客价值"),
    "refunds": ("Refunds", "退款", "退款"),
    "estimate": ("Estimate", "估計值", "估计值"),
    "interval": ("90% interval", "90% 區間", "90% 区间"),
    "low": ("Low", "下限", "下限"),
    "high": ("High", "上限", "上限"),
    "sd": ("SD", "標準差", "标准差"),
    "evidence": ("Evidence", "有效樣本", "有效样本"),
    "today": ("Today", "今日", "今日"),
    "tomorrow": ("Tomorrow", "明日", "明日"),
    "change": ("Change", "變化", "变化"),
    "change_percent": ("Change, %", "變化率", "变化率"),
    "value": ("Value", "價值", "价值"),
    "limits": (
        "Binding limits (price per visit)",
        "生效的限制（每次造訪的價格）",
        "生效的限制（每次访问的价格）",
    ),
    "newcomer": ("new", "新商家", "新商家"),
    "day": ("Day", "日期", "日期"),
    "gmv_per_day": (
        "GMV by day of the visit; orders of the last days are still to come",
        "成交額（按到訪日；最近幾日的訂單尚未到齊）",
        "成交额（按到访日；最近几日的订单尚未到齐）",
    ),
    "unit.gmv_per_day": ("Clicks per day", "每日點擊數", "每日点击数"),
    "visitors_per_day": ("Visitors per day", "每日訪客數", "每日访客数"),
    "days_table": ("Daily figures", "每日數據", "每日数据"),
    # ------------------------------------------------------------ 1 outcome
    "outcome.heading": ("Outcome", "總覽", "总览"),
    "outcome.more": (
        "The plan for {day} is expected to earn {plan} a day, {change} over keeping today's shares ({keep}).",
        "{day}的流量計畫預計每日帶來 {plan}，與維持今日流量份額（{keep}）相比為 {change}。",
        "{day}的流量计划预计每日带来 {plan}，与维持今日流量份额（{keep}）相比为 {change}。",
    ),
    "outcome.same": (
        "The plan for {day} is expected to earn {plan} a day, the same as keeping today's shares.",
        "{day}的流量計畫預計每日帶來 {plan}，與維持今日流量份額相同。",
        "{day}的流量计划预计每日带来 {plan}，与维持今日流量份额相同。",
    ),
    "outcome.less": (
        "The plan for {day} is expected to earn {plan} a day, {change} against keeping today's shares "
        "({keep}): its limits cost more than its moves bring.",
        "{day}的流量計畫預計每日帶來 {plan}，與維持今日流量份額（{keep}）相比為 {change}：限制的代價大於調整的收益。",
        "{day}的流量计划预计每日带来 {plan}，与维持今日流量份额（{keep}）相比为 {change}：限制的代价大于调整的收益。",
    ),
    "outcome.bound": (
        "The best that the limits allow, without inertia, is {bound}. "
        "The plan is proved to be within {gap} of the best at its inertia.",
        "不計慣性，限制之內最多可達 {bound}。經證明，本計畫與最優方案的差距不超過 {gap}。",
        "不计惯性，限制之内最多可达 {bound}。经证明，本计划与最优方案的差距不超过 {gap}。",
    ),
    "outcome.no_plan": (
        "There is no plan yet: this page shows what visits were worth. Make one with {command}.",
        "目前還沒有流量計畫，本頁只呈現訪客價值。執行 {command} 即可產生計畫。",
        "目前还没有流量计划，本页只呈现访客价值。运行 {command} 即可生成计划。",
    ),
    "outcome.status": (
        "Plan {version} ({status}), inertia {inertia}, made from the log up to {as_of}.",
        "計畫第 {version} 版（{status}），慣性 {inertia}，依據截至 {as_of}的數據。",
        "计划第 {version} 版（{status}），惯性 {inertia}，依据截至 {as_of}的数据。",
    ),
    "status.draft": ("draft", "草稿", "草稿"),
    "status.published": ("published", "已發布", "已发布"),
    "status.retired": ("retired", "已停用", "已停用"),
    "no_orders": (
        "No purchases in this period, so values rest on prior knowledge only and intervals are wide.",
        "這段期間沒有成交，價值只能依先驗估計，區間很寬。",
        "这段期间没有成交，价值只能依先验估计，区间很宽。",
    ),
    "unit.no_orders": (
        "No clicks in this period, so values rest on prior knowledge only and intervals are wide.",
        "這段期間沒有點擊，價值只能依先驗估計，區間很寬。",
        "这段期间没有点击，价值只能依先验估计，区间很宽。",
    ),
    "no_visits": ("No visits in this period.", "這段期間沒有訪客。", "这段期间没有访客。"),
    "mind": ("Mind this", "請留意", "请留意"),
    "chart.daily": (
        "{what}: lowest {low} on {low_day}, highest {high} on {high_day}.",
        "{what}：最低 {low}（{low_day}），最高 {high}（{high_day}）。",
        "{what}：最低 {low}（{low_day}），最高 {high}（{high_day}）。",
    ),
    # ------------------------------------------------------------ 2 value
    "value.heading": ("What a visitor is worth", "一位訪客值多少", "一位访客值多少"),
    "value.lead": (
        "Expected earnings of one visit, by provider, highest first, in {unit}.",
        "各商家每次造訪的預期收益，由高到低，單位 {unit}。",
        "各商家每次访问的预期收益，由高到低，单位 {unit}。",
    ),
    "unit.value.lead": (
        "Expected clicks of one visit, by provider, highest first.",
        "各商家每次造訪的預期點擊，由高到低。",
        "各商家每次访问的预期点击，由高到低。",
    ),
    "value.more": (
        "The chart shows the {shown} with the most visitors; {more} more in the table.",
        "圖中為訪客數最多的 {shown} 家，其餘 {more} 家見下表。",
        "图中为访客数最多的 {shown} 家，其余 {more} 家见下表。",
    ),
    "value.clipped": (
        "An arrow marks an interval that runs past the right edge.",
        "箭頭表示區間超出右側邊界。",
        "箭头表示区间超出右侧边界。",
    ),
    "value.table": ("All figures by provider", "各商家完整數據", "各商家完整数据"),
    "legend.interval": ("90% interval", "90% 區間", "90% 区间"),
    "legend.mean": ("estimate", "估計值", "估计值"),
    "legend.plain": ("plain visitor value", "訪客價值（實際）", "访客价值（实际）"),
    "chart.ladder": (
        "Estimated value of a visit of {count} providers: from {low} to {high}.",
        "{count} 家商家的每訪價值估計：{low} 至 {high}。",
        "{count} 家商家的每访价值估计：{low} 至 {high}。",
    ),
    "rows.cut": (
        "The {shown} largest of {all} are shown. All of them: {command}",
        "僅列出 {all} 家中最大的 {shown} 家。完整清單：{command}",
        "仅列出 {all} 家中最大的 {shown} 家。完整清单：{command}",
    ),
    "delay.heading": ("How late orders come", "訪客多久之後下單", "访客多久之后下单"),
    "unit.delay.heading": ("How late clicks come", "訪客多久之後點擊", "访客多久之后点击"),
    "delay.lead": (
        "Share of orders placed within so many days of the visit. "
        "Recent visits are credited with what is still to come.",
        "造訪後若干天內下單的比例。近期造訪尚未到來的訂單已計入估計。",
        "访问后若干天内下单的比例。近期访问尚未到来的订单已计入估计。",
    ),
    "delay.days": ("Days after the visit", "造訪後天數", "访问后天数"),
    "delay.half": ("Half by day", "過半所需天數", "过半所需天数"),
    "delay.same_day": ("same day", "當天", "当天"),
    "delay.within": ("{days} d", "{days} 天", "{days} 天"),
    "delay.more": (
        "{more} more categories in {command}.",
        "另有 {more} 個品類，見 {command}。",
        "另有 {more} 个品类，见 {command}。",
    ),
    # ------------------------------------------------------------ 3 traffic
    "traffic.heading": ("Traffic today and tomorrow", "今日與明日的流量", "今日与明日的流量"),
    "traffic.lead": (
        "{up} providers gain visits, {down} lose visits; {moved} of {demand} visits a day change hands.",
        "{up} 家商家流量增加，{down} 家減少；每日 {demand} 次造訪中有 {moved} 次換了去處。",
        "{up} 家商家流量增加，{down} 家减少；每日 {demand} 次访问中有 {moved} 次换了去处。",
    ),
    "traffic.chart": (
        "The {shown} largest changes, in visits a day.",
        "變化最大的 {shown} 家，每日造訪次數。",
        "变化最大的 {shown} 家，每日访问次数。",
    ),
    "traffic.table": (
        "All providers, with limits and prices",
        "全部商家、限制與價格",
        "全部商家、限制与价格",
    ),
    "traffic.unassigned": (
        "Limits leave {visits} visits a day with nobody: {segments}.",
        "因各項限制，每日有 {visits} 次造訪無法分配：{segments}。",
        "因各项限制，每日有 {visits} 次访问无法分配：{segments}。",
    ),
    "traffic.price": (
        "A price is what one more visit would add under that limit; "
        "a negative price is what a guaranteed minimum costs.",
        "價格是該限制每放寬一次造訪可多得的收益；負值是保底流量的代價。",
        "价格是该限制每放宽一次访问可多得的收益；负值是保底流量的代价。",
    ),
    "traffic.none": ("Nobody's visits change.", "沒有商家的流量發生變化。", "没有商家的流量发生变化。"),
    "legend.today": ("today", "今日", "今日"),
    "legend.up": ("tomorrow, more", "明日增加", "明日增加"),
    "legend.down": ("tomorrow, fewer", "明日減少", "明日减少"),
    "chart.dumbbell": (
        "Visits a day of {count} providers, today and tomorrow.",
        "{count} 家商家今日與明日的每日造訪次數。",
        "{count} 家商家今日与明日的每日访问次数。",
    ),
    "limit.capacity": ("capacity", "承接上限", "承接上限"),
    "limit.floor": ("guaranteed minimum", "保底流量", "保底流量"),
    "limit.change": ("largest change a day", "單日變化上限", "单日变化上限"),
    "limit.max_change": ("largest change a day", "單日變化上限", "单日变化上限"),
    "limit.largest_change": ("largest change a day", "單日變化上限", "单日变化上限"),
    "limit.change_up": ("change limit up", "單日漲幅上限", "单日涨幅上限"),
    "limit.change_down": ("change limit down", "單日跌幅上限", "单日跌幅上限"),
    "limit.pin": ("pinned", "人工鎖定", "人工锁定"),
    "limit.exclude": ("excluded", "已排除", "已排除"),
    "limit.newcomer_floor": ("newcomers' minimum", "新商家扶持保底", "新商家扶持保底"),
    "limit.newcomer": ("newcomers' minimum", "新商家扶持保底", "新商家扶持保底"),
    "limit.max_provider_share": ("largest share of a segment", "客群占比上限", "客群占比上限"),
    # ------------------------------------------------------------ 4 why
    "why.heading": ("Why visits change", "流量為什麼變化", "流量为什么变化"),
    "why.lead": (
        "The largest gains and losses, in parts that sum to the visit.",
        "流量增減最多的商家，各項原因相加恰為總變化。",
        "流量增减最多的商家，各项原因相加恰为总变化。",
    ),
    "why.none": (
        "No reasons were worked out for this plan.",
        "本計畫尚未分析變化原因。",
        "本计划尚未分析变化原因。",
    ),
    "why.more": (
        "Any other provider: {command}",
        "查看其他商家：{command}",
        "查看其他商家：{command}",
    ),
    "why.gains": (
        "{name} gains {visits} visits, from {today} to {tomorrow}.",
        "{name} 增加 {visits} 次造訪，由 {today} 變為 {tomorrow}。",
        "{name} 增加 {visits} 次访问，由 {today} 变为 {tomorrow}。",
    ),
    "why.loses": (
        "{name} loses {visits} visits, from {today} to {tomorrow}.",
        "{name} 減少 {visits} 次造訪，由 {today} 變為 {tomorrow}。",
        "{name} 减少 {visits} 次访问，由 {today} 变为 {tomorrow}。",
    ),
    "why.keeps": (
        "{name} keeps its {today} visits ({tomorrow} tomorrow).",
        "{name} 維持 {today} 次造訪（明日 {tomorrow}）。",
        "{name} 维持 {today} 次访问（明日 {tomorrow}）。",
    ),
    "why.to": ("The visits went to {who}.", "這些造訪轉往 {who}。", "这些访问转往 {who}。"),
    "win.heading": ("To win them back", "如何贏回", "如何赢回"),
    "win.either": (
        "a conversion of {conversion}, or an average order of {order}.",
        "轉化率達到 {conversion}，或客單價達到 {order}。",
        "转化率达到 {conversion}，或客单价达到 {order}。",
    ),
    "win.conversion": (
        "a conversion of {conversion}.",
        "轉化率達到 {conversion}。",
        "转化率达到 {conversion}。",
    ),
    "win.order": ("an average order of {order}.", "客單價達到 {order}。", "客单价达到 {order}。"),
    "win.blocked": (
        "better figures alone would not do it; this limit holds them back: {limit}.",
        "僅提升業績指標並不足夠，受此限制約束：{limit}。",
        "仅提升业绩指标并不足够，受此限制约束：{limit}。",
    ),
    "part.demand": ("demand", "需求變化", "需求变化"),
    "part.eligibility": ("eligibility", "參與資格", "参与资格"),
    "part.newcomers": ("newcomers", "新商家扶持", "新商家扶持"),
    "part.conversion": ("conversion", "轉化率", "转化率"),
    "unit.part.conversion": ("click rate", "點擊率", "点击率"),
    "part.order_value": ("order value", "客單價", "客单价"),
    "part.limit": ("own limit", "自身限制", "自身限制"),
    "part.others": ("others", "其他商家", "其他商家"),
    "part.unassigned": ("unassigned", "未分配", "未分配"),
    "part.repair": ("rounding", "取整修正", "取整修正"),
    "part.boost": ("boost", "人工加權", "人工加权"),
    "because.demand.up": (
        "because its segments expect more visitors",
        "因為所在客群預計訪客增加",
        "因为所在客群预计访客增加",
    ),
    "because.demand.down": (
        "because its segments expect fewer visitors",
        "因為所在客群預計訪客減少",
        "因为所在客群预计访客减少",
    ),
    "because.eligibility.up": (
        "because others are no longer eligible, and their share was spread",
        "因為部分商家不再參與分配，其份額由其他商家分得",
        "因为部分商家不再参与分配，其份额由其他商家分得",
    ),
    "because.eligibility.down": (
        "because more providers are eligible for the same visitors",
        "因為有更多商家參與分配同一批訪客",
        "因为有更多商家参与分配同一批访客",
    ),
    "because.newcomers.up": (
        "because newcomers are given a real chance",
        "因為新商家扶持流量",
        "因为新商家扶持流量",
    ),
    "because.newcomers.down": (
        "because newcomers are given a share of visitors",
        "因為讓出部分流量用於新商家扶持",
        "因为让出部分流量用于新商家扶持",
    ),
    "because.conversion.up": (
        "because its conversion is above its neighbours'",
        "因為轉化率高於同類競爭商家",
        "因为转化率高于同类竞争商家",
    ),
    "because.conversion.down": (
        "because its conversion is below its neighbours'",
        "因為轉化率低於同類競爭商家",
        "因为转化率低于同类竞争商家",
    ),
    "because.order_value.up": (
        "because its average order is above its neighbours'",
        "因為客單價高於同類競爭商家",
        "因为客单价高于同类竞争商家",
    ),
    "because.order_value.down": (
        "because its average order is below its neighbours'",
        "因為客單價低於同類競爭商家",
        "因为客单价低于同类竞争商家",
    ),
    "because.limit.up": (
        "because this limit holds it up: {detail}",
        "因為此限制托住其流量：{detail}",
        "因为此限制托住其流量：{detail}",
    ),
    "because.limit.down": (
        "because this limit holds it down: {detail}",
        "因為此限制壓住其流量：{detail}",
        "因为此限制压住其流量：{detail}",
    ),
    "because.others.up": (
        "because others are worth less, or are held back by their limits",
        "因為其他商家價值較低，或受到自身限制",
        "因为其他商家价值较低，或受到自身限制",
    ),
    "because.others.down": (
        "because others are worth more, or are held up by their limits",
        "因為其他商家價值較高，或有保底流量",
        "因为其他商家价值较高，或有保底流量",
    ),
    "because.unassigned.up": (
        "because fewer visits are left with nobody",
        "因為未分配的造訪減少",
        "因为未分配的访问减少",
    ),
    "because.unassigned.down": (
        "because limits leave some visits with nobody",
        "因為限制使部分造訪無法分配",
        "因为限制使部分访问无法分配",
    ),
    "because.repair.up": (
        "from the last step, which makes every limit hold exactly",
        "來自最後一步修正，使所有限制嚴格成立",
        "来自最后一步修正，使所有限制严格成立",
    ),
    "because.repair.down": (
        "from the last step, which makes every limit hold exactly",
        "來自最後一步修正，使所有限制嚴格成立",
        "来自最后一步修正，使所有限制严格成立",
    ),
    "because.boost.up": ("because of a boost that you set", "因為你設定的人工加權", "因为你设置的人工加权"),
    "because.boost.down": (
        "because of a boost that you set for others",
        "因為你為其他商家設定的人工加權",
        "因为你为其他商家设置的人工加权",
    ),
    "because.compared": (
        "{reason} ({own} against {around})",
        "{reason}（{own}，對比 {around}）",
        "{reason}（{own}，对比 {around}）",
    ),
    "because.detail": ("{reason}: {detail}", "{reason}：{detail}", "{reason}：{detail}"),
    "chart.waterfall": (
        "Visits a day of {name}, from today to tomorrow, by reason.",
        "{name} 從今日到明日的每日造訪次數，按原因拆分。",
        "{name} 从今日到明日的每日访问次数，按原因拆分。",
    ),
    # ------------------------------------------------------------ 5 comparison
    "compare.heading": ("The plan against other ways", "計畫與其他分法的比較", "计划与其他分法的对比"),
    "compare.lead": (
        "Expected earnings a day under the same values.",
        "相同價值估計下的每日預期收益。",
        "相同价值估计下的每日预期收益。",
    ),
    "compare.way": ("Way", "分法", "分法"),
    "compare.earned": ("Expected a day", "每日預期收益", "每日预期收益"),
    "compare.against": ("Against today's shares", "與維持份額相比", "与维持份额相比"),
    "compare.keep_shares": ("Keep today's shares", "維持今日份額", "维持今日份额"),
    "compare.proportional": ("In proportion to value", "按價值比例分配", "按价值比例分配"),
    "compare.plan": ("The plan", "本計畫", "本计划"),
    "compare.lp_bound": (
        "Best within limits, no inertia",
        "限制內最優（不計慣性）",
        "限制内最优（不计惯性）",
    ),
    "chart.compare": (
        "Expected earnings a day: the plan {plan}, keeping shares {keep}, best within limits {bound}.",
        "每日預期收益：本計畫 {plan}，維持份額 {keep}，限制內最優 {bound}。",
        "每日预期收益：本计划 {plan}，维持份额 {keep}，限制内最优 {bound}。",
    ),
    "spread.heading": ("How visits are spread", "流量集中度", "流量集中度"),
    "spread.lead": (
        "Whether the plan makes the large larger, and what newcomers get.",
        "計畫是否讓頭部更集中，以及新商家得到多少。",
        "计划是否让头部更集中，以及新商家得到多少。",
    ),
    "spread.measure": ("Measure", "指標", "指标"),
    "spread.gini": (
        "Gini coefficient (0 all equal, 1 all to one)",
        "基尼係數（0 平均，1 全歸一家）",
        "基尼系数（0 平均，1 全归一家）",
    ),
    "spread.top": ("Share of the top 10% of providers", "前 10% 商家占比", "前 10% 商家占比"),
    "spread.newcomers": ("Share of newcomers", "新商家占比", "新商家占比"),
    # ------------------------------------------------------------ 6 segments
    "segments.heading": ("By segment", "分客群", "分客群"),
    "segments.lead": (
        "Visits expected tomorrow with a 90% interval, and who gets them.",
        "明日預計造訪次數（90% 區間）及其去向。",
        "明日预计访问次数（90% 区间）及其去向。",
    ),
    "segments.demand": (
        "{visits} visits expected ({low} to {high})",
        "預計 {visits} 次造訪（{low} 至 {high}）",
        "预计 {visits} 次访问（{low} 至 {high}）",
    ),
    "segments.rest": ("{count} others", "其他 {count} 家", "其他 {count} 家"),
    "segments.unassigned": ("unassigned", "未分配", "未分配"),
    "segments.more": (
        "The {shown} largest of {all} segments are shown.",
        "僅列出 {all} 個客群中最大的 {shown} 個。",
        "仅列出 {all} 个客群中最大的 {shown} 个。",
    ),
    "segments.all": ("(all)", "（全部）", "（全部）"),
    "chart.segment": (
        "Shares of segment {name}, today and tomorrow.",
        "客群 {name} 的今日與明日份額。",
        "客群 {name} 的今日与明日份额。",
    ),
    # ------------------------------------------------------------ 7 checks
    "checks.heading": ("Checks of the data", "數據檢查", "数据检查"),
    "checks.none": ("No checks were run.", "未執行檢查。", "未运行检查。"),
    "checks.fine": ("All checks passed.", "所有檢查均已通過。", "所有检查均已通过。"),
    "checks.passed": ("{count} passed", "{count} 項通過", "{count} 项通过"),
    "checks.check": ("Check", "檢查項", "检查项"),
    "checks.found": ("Found", "發現", "发现"),
    "checks.count": ("Count", "數量", "数量"),
    "checks.where": ("For example", "例如", "例如"),
    "checks.do": ("What to do", "處理辦法", "处理办法"),
    "level.error": ("error", "錯誤", "错误"),
    "level.warning": ("warning", "警告", "警告"),
    "level.note": ("note", "提示", "提示"),
    "level.ok": ("passed", "通過", "通过"),
    # ------------------------------------------------------------ 8 how to read
    "reading.heading": ("How to read this page", "如何閱讀本頁", "如何阅读本页"),
    "reading.visitor_value.term": ("Visitor value", "訪客價值", "访客价值"),
    "reading.visitor_value": (
        "GMV / visitors = conversion × average order, as counted in this period.",
        "成交額 / 訪客數 = 轉化率 × 客單價，按本期實際統計。",
        "成交额 / 访客数 = 转化率 × 客单价，按本期实际统计。",
    ),
    "unit.reading.visitor_value": (
        "Clicks / visitors = click rate, as counted in this period.",
        "點擊數 / 訪客數 = 點擊率，按本期實際統計。",
        "点击数 / 访客数 = 点击率，按本期实际统计。",
    ),
    "reading.estimate.term": ("Estimate", "估計值", "估计值"),
    "reading.estimate": (
        "What one visit is expected to earn in the end: late orders included, recent days weighing more, "
        "small samples drawn towards their category.",
        "一次造訪最終預期帶來的收益：計入遲到的訂單，近期權重較大，小樣本向品類平均靠攏。",
        "一次访问最终预期带来的收益：计入迟到的订单，近期权重较大，小样本向品类平均靠拢。",
    ),
    "reading.interval.term": ("90% interval", "90% 區間", "90% 区间"),
    "reading.interval": (
        "The true value lies in it nine times out of ten. Where two intervals overlap widely, do not conclude much.",
        "真實價值十次有九次落在其中。兩個區間大幅重疊時，不宜下定論。",
        "真实价值十次有九次落在其中。两个区间大幅重叠时，不宜下定论。",
    ),
    "reading.evidence.term": ("Evidence", "有效樣本", "有效样本"),
    "reading.evidence": (
        "How many visits the estimate truly rests on, after older ones are weighed down.",
        "舊數據降權之後，估計實際依據的造訪次數。",
        "旧数据降权之后，估计实际依据的访问次数。",
    ),
    "reading.price.term": ("Price", "價格", "价格"),
    "reading.price": (
        "What one more visit would earn if a limit gave way: raise capacity first where the price is highest.",
        "某項限制每放寬一次造訪可多得的收益：價格最高的商家應優先擴充承接能力。",
        "某项限制每放宽一次访问可多得的收益：价格最高的商家应优先扩充承接能力。",
    ),
    "reading.inertia.term": ("Inertia", "慣性", "惯性"),
    "reading.inertia": (
        "How strongly tomorrow holds to today's shares. It keeps traffic from jumping; 0 moves all at once.",
        "明日份額沿用今日的程度，避免流量大起大落；0 表示一步到位。",
        "明日份额沿用今日的程度，避免流量大起大落；0 表示一步到位。",
    ),
    "reading.certificate.term": ("Certificate", "最優證明", "最优证明"),
    "reading.certificate": (
        "A proof that no plan under the same rules can earn more than the gap above this one.",
        "證明同樣規則下，任何計畫的收益都不會比本計畫高出該差距以上。",
        "证明同样规则下，任何计划的收益都不会比本计划高出该差距以上。",
    ),
    "reading.today.term": ("Today and tomorrow", "今日與明日", "今日与明日"),
    "reading.today": (
        "Today is an average day of the last days' delivered shares; tomorrow is the day of the plan.",
        "今日指近幾日實際份額的平均一天；明日指計畫所屬的那一天。",
        "今日指近几日实际份额的平均一天；明日指计划所属的那一天。",
    ),
    "footer": (
        "Made by Footfall on {created}. This file works offline and asks no other server for anything.",
        "由 Footfall 產生於 {created}。本檔案可離線閱讀，不向任何伺服器請求內容。",
        "由 Footfall 生成于 {created}。本文件可离线阅读，不向任何服务器请求内容。",
    ),
}
